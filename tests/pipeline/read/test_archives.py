"""Archives are read as streams, members are known by position, and nothing that they claim is believed."""

import gzip
import io
import tarfile
import zipfile
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurobatch.codes import Code
from neurobatch.errors import LeftOut
from pipeline.limits import Limits
from pipeline.read.archives import members, open_members, read_whole
from tests.pipeline.inputs import tarred, zipped

LIMITS = Limits()
Maker = Callable[[dict[str, bytes]], bytes]
MAKERS: list[Maker] = [zipped, tarred, lambda files: tarred(files, "w:gz")]


class OneWay(io.RawIOBase):
    """A stream from a network: forward only."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self._data = io.BytesIO(data)

    def read(self, size: int | None = -1) -> bytes:
        return self._data.read(size)

    def seekable(self) -> bool:
        return False


def listed(data: bytes, limits: Limits = LIMITS) -> list[tuple[int, str, Code | None]]:
    return [(m.position, m.name, m.refused) for m in members(io.BytesIO(data), limits)]


def failure(data: bytes, limits: Limits = LIMITS) -> Code:
    with pytest.raises(LeftOut) as caught:
        everything(data, limits)
    return caught.value.code


def everything(data: bytes, limits: Limits) -> list[bytes]:
    return [read_whole(m.stream, limits) for m in members(io.BytesIO(data), limits) if m.stream is not None]


FILES = st.dictionaries(
    st.text("abcdёж日 -", min_size=1, max_size=12), st.binary(max_size=2000), min_size=1, max_size=8
)


@pytest.mark.parametrize("maker", MAKERS)
@given(files=FILES, chosen=st.sets(st.integers(0, 8)))
@settings(max_examples=40)
def test_the_wanted_members_come_out_as_they_went_in(maker: Maker, files: dict[str, bytes], chosen: set[int]) -> None:
    data = maker(files)
    assert [name for _, name, _ in listed(data)] == list(files)
    wanted = [position for position in sorted(chosen) if position < len(files)]
    found = list(open_members(io.BytesIO(data), wanted, LIMITS))
    assert found == [(position, list(files.values())[position]) for position in wanted]


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_tar_is_read_from_a_stream_that_cannot_go_back(mode: str) -> None:
    data = tarred({"a": b"1" * 3000, "b": b"2"}, mode)
    assert list(open_members(OneWay(data), [1], LIMITS)) == [(1, b"2")]  # type: ignore[arg-type]


def test_reading_ends_after_the_last_wanted_member() -> None:
    whole = tarred({"a": b"1", "b": b"2"}, "w:gz")
    cut = whole[:-20]
    assert list(open_members(io.BytesIO(cut), [0], LIMITS)) == [(0, b"1")]


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("../up.png", Code.UNSAFE_NAME),
        ("a/../../up.png", Code.UNSAFE_NAME),
        ("/etc/passwd", Code.UNSAFE_NAME),
        ("C:\\x.png", Code.UNSAFE_NAME),
        ("..\\up.png", Code.UNSAFE_NAME),
        ("__MACOSX/._a.png", Code.HIDDEN_FILE),
        ("inner.tar.gz", Code.ARCHIVE_NESTED),
        ("срез.png", None),
    ],
)
@pytest.mark.parametrize("maker", MAKERS)
def test_names_that_lead_outside_are_refused_and_the_rest_is_read(maker: Maker, name: str, code: Code | None) -> None:
    found = listed(maker({name: b"1", "good.png": b"2"}))
    assert found[0][2] is code
    assert found[1] == (1, "good.png", None)


def test_links_in_a_tar_are_refused() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        kind: bytes
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
            info = tarfile.TarInfo(f"link{kind!r}")
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
    assert [code for _, _, code in listed(out.getvalue())] == [Code.UNSAFE_LINK] * 4


def test_links_in_a_zip_are_refused() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        info = zipfile.ZipInfo("link")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    assert listed(out.getvalue()) == [(0, "link", Code.UNSAFE_LINK)]


def test_a_member_under_a_password_is_refused_by_itself() -> None:
    data = bytearray(zipped({"secret.png": b"1", "open.png": b"2"}))
    place = data.index(b"PK\x01\x02")
    data[place + 8] |= 1
    assert listed(bytes(data)) == [(0, "secret.png", Code.ARCHIVE_ENCRYPTED), (1, "open.png", None)]


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("снимки/срез.png".encode(), "снимки/срез.png"),
        ("снимки/срез.png".encode("cp866"), "снимки/срез.png"),
        ("Mädchen.png".encode("cp437"), "Mädchen.png"),
    ],
)
def test_names_without_a_stated_encoding_are_read_as_people_wrote_them(raw: bytes, name: str) -> None:
    ascii_name = "x" * len(raw)
    data = zipped({ascii_name: b"1"}).replace(ascii_name.encode(), raw)
    assert listed(data) == [(0, name, None)]


def test_folders_take_no_position() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        folder = tarfile.TarInfo("folder")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        archive.addfile(tarfile.TarInfo("folder/file"))
    assert listed(out.getvalue()) == [(0, "folder/file", None)]


@pytest.mark.parametrize("maker", MAKERS)
def test_an_archive_that_is_cut_short_says_so_after_its_good_members(maker: Maker) -> None:
    data = maker({"a": bytes(range(256)) * 40, "b": bytes(range(256)) * 400})
    assert failure(data[: len(data) * 2 // 3]) is Code.ARCHIVE_DAMAGED


def test_damage_within_a_zip_member_is_found() -> None:
    data = bytearray(zipped({"a": bytes(range(256)) * 40}))
    data[60:70] = b"\xff" * 10
    assert failure(bytes(data)) is Code.ARCHIVE_DAMAGED


def test_other_archives_are_named_as_such() -> None:
    assert failure(b"7z\xbc\xaf\x27\x1c" + b"\0" * 100) is Code.UNSUPPORTED_ARCHIVE


def test_a_bomb_stops_at_the_limit() -> None:
    limits = Limits(archive_slack=1 << 20, file_bytes=1 << 30)
    packed = tarred({"a": b"\0" * (16 << 20)}, "w:gz")
    assert len(packed) < 100_000
    assert failure(packed, limits) is Code.ARCHIVE_TOO_LARGE
    assert failure(zipped({"a": b"\0" * (16 << 20)}), limits) is Code.ARCHIVE_TOO_LARGE


def test_a_member_beyond_the_limit_is_not_taken_into_memory() -> None:
    limits = Limits(file_bytes=1000)
    for maker in MAKERS:
        assert failure(maker({"a": b"\1" * 1001}), limits) is Code.ARCHIVE_TOO_LARGE


def test_more_members_than_the_limit_are_refused() -> None:
    limits = Limits(archive_members=3)
    for maker in MAKERS:
        assert failure(maker({str(n): b"1" for n in range(4)}), limits) is Code.ARCHIVE_TOO_LARGE


def test_an_extended_header_may_not_be_huge() -> None:
    data = tarred({"a" * 5000: b"1"})
    assert failure(data, Limits(archive_name_bytes=1000)) is Code.ARCHIVE_DAMAGED
    assert listed(data)[0][1] == "a" * 5000


def test_a_zip_within_gzip_is_no_tar() -> None:
    assert failure(gzip.compress(zipped({"a": b"1"}))) is Code.ARCHIVE_DAMAGED
