"""What a file is: by its content first, by its name where the content leaves it open; and what a planner must know of
it.

Nothing here decodes a pixel. `sniff` looks at the first bytes; `describe` at headers, in bounded memory.
"""

from dataclasses import dataclass
from enum import StrEnum

from neurobatch.codes import Code
from neurobatch.errors import LeftOut
from neurobatch.records import ScanKind
from pipeline.limits import Limits
from pipeline.read import dicom_header, nifti_header
from pipeline.read.dicom_header import DicomHeader
from pipeline.read.streams import GZIP_MAGIC, Readable, head_of_gzip, opened_head

HEAD_BYTES = 512  # what `sniff` wants to see; it takes less

_ARCHIVE_SUFFIXES = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".7z", ".rar")
_PICTURE_MAGICS = (
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff",  # JPEG
    b"II*\x00",  # TIFF, little-endian
    b"MM\x00*",  # TIFF, big-endian
    b"II+\x00",  # BigTIFF
    b"MM\x00+",
)
_ARCHIVE_MAGICS = (
    b"PK\x03\x04",
    b"PK\x05\x06",  # an empty zip
    b"7z\xbc\xaf\x27\x1c",
    b"Rar!\x1a\x07",
    b"BZh",
    b"\xfd7zXZ\x00",
)
_SYSTEM_FILES = frozenset({"thumbs.db", "desktop.ini", "ehthumbs.db", "icon\r"})
_SYSTEM_FOLDERS = frozenset({"__macosx", "$recycle.bin", "system volume information"})
_TAR_MAGIC_AT = 257
_TAR_CHECKSUM = slice(148, 156)


class Kind(StrEnum):
    """What a file is."""

    PICTURE = "picture"
    DICOM = "dicom"
    NIFTI = "nifti"
    ARCHIVE = "archive"
    OTHER = "other"


@dataclass(frozen=True, kw_only=True)
class Described:
    """What a planner needs of a file that belongs in a scan."""

    kind: ScanKind
    slices: int  # as the header promises, at least 1
    header: DicomHeader | None = None  # given where the file may be one of a series; else the file is a scan by itself


def hidden(name: str) -> bool:
    """Whether a path belongs to an operating system or a tool, not to the archive of scans."""
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    return any(
        part.startswith(".") or part.lower() in _SYSTEM_FOLDERS or part.lower() in _SYSTEM_FILES for part in parts
    )


def named_as_archive(name: str) -> bool:
    """Whether a name ends as an archive's does."""
    return name.lower().endswith(_ARCHIVE_SUFFIXES)


def sniff(head: bytes, name: str = "") -> Kind:
    """Tell what a file is.

    Args:
        head: its first 512 bytes, or all where it is shorter.
        name: its path; asked only where the content alone does not tell (a tar without magic, an Analyze header).
    """
    if head.startswith(GZIP_MAGIC):
        inner = head_of_gzip(head)
        kind = _plain(inner, name)
        if kind is Kind.OTHER and name.lower().endswith((".tgz", ".tar.gz")):
            return Kind.ARCHIVE
        if kind is Kind.OTHER and name.lower().endswith(".nii.gz"):
            return Kind.NIFTI
        if kind is Kind.ARCHIVE and not _is_tar(inner):
            return Kind.OTHER
        return Kind.OTHER if kind is Kind.PICTURE else kind
    return _plain(head, name)


def describe(kind: Kind, name: str, stream: Readable, limits: Limits) -> Described:
    """Read a file's header for the planner.

    Args:
        kind: as `sniff` told.
        name: its path, for files that are known by it alone.
        stream: the file from its first byte; it is read forward only, as far as needed.
        limits: `header_bytes` bounds what is read and kept.

    Returns:
        What the file adds to a plan. A file with the right magic but a header that cannot be read is a scan
        too: it fails, with a code, when it is read.

    Raises:
        LeftOut: the file belongs in no scan.
    """
    if hidden(name):
        raise LeftOut(Code.HIDDEN_FILE)
    if kind is Kind.ARCHIVE:
        raise LeftOut(Code.ARCHIVE_NESTED)
    if kind is Kind.PICTURE:
        return Described(kind=ScanKind.PICTURE, slices=1)
    head = opened_head(stream, limits.header_bytes)
    if kind is Kind.DICOM:
        header = dicom_header.read_header(head)
        if header is None:
            return Described(kind=ScanKind.DICOM, slices=1)
        return Described(kind=ScanKind.DICOM, slices=max(1, header.frames), header=header)
    if kind is Kind.NIFTI:
        return Described(kind=ScanKind.NIFTI, slices=nifti_header.slices_of(head))
    if not head.read(1):
        raise LeftOut(Code.EMPTY_FILE)
    if name.lower().endswith((".img", ".img.gz", ".hdr", ".hdr.gz")):
        raise LeftOut(Code.PAIR_OF_FILES)
    raise LeftOut(Code.NOT_A_SCAN)


def _plain(head: bytes, name: str) -> Kind:
    if head.startswith(_PICTURE_MAGICS) or _is_bmp(head) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP"):
        return Kind.PICTURE if head[128:132] != b"DICM" else Kind.DICOM
    if nifti_header.looks_so(head):
        return Kind.NIFTI
    if dicom_header.looks_so(head):
        return Kind.DICOM
    if head.startswith(_ARCHIVE_MAGICS) or _is_tar(head):
        return Kind.ARCHIVE
    return Kind.OTHER


def _is_bmp(head: bytes) -> bool:
    """BM, then among others the size of the second header: 12, 40, 52, 56, 64, 108 or 124 bytes."""
    return head[:2] == b"BM" and head[14:15] in (
        b"\x0c",
        b"\x28",
        b"\x34",
        b"\x38",
        b"\x40",
        b"\x6c",
        b"\x7c",
    )


def _is_tar(head: bytes) -> bool:
    """POSIX and GNU magic, or a header block of the seventh edition: told by its checksum."""
    if head[_TAR_MAGIC_AT : _TAR_MAGIC_AT + 5] == b"ustar":
        return True
    if len(head) < HEAD_BYTES or not head[0]:
        return False
    digits = head[_TAR_CHECKSUM].strip(b" \x00")
    if not digits or not all(48 <= digit < 56 for digit in digits):
        return False
    block = head[: _TAR_CHECKSUM.start] + b" " * 8 + head[_TAR_CHECKSUM.stop : HEAD_BYTES]
    return sum(block) == int(digits, 8)
