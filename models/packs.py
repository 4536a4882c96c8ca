"""Packs: labelled sets in one file that is small enough to travel to a machine that trains.

A pack is a zip of few members, the same bytes for the same sets:

    pack.json        format, codec, quality, longest side; the folders and pictures in it
    <set>/table      the set's table, as `models.sets` reads it
    <set>/pictures   one WebP after the other, at most `longest` px long
    <set>/outlines   one outline after the other, a bit a pixel

WebP has half the resolution for colour, so the sequences of a composite go below each other as one grey picture.
`unpack` gives ordinary sets with PNG pictures, which train and evaluate like any other.
"""

import csv
import hashlib
import io
import json
import lzma
import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import repeat
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from models.data import Item, read_mask, read_plane
from neurobatch.codes import Code
from neurobatch.errors import Refused
from pipeline.prepare.fit import resize

FORMAT = 1
QUALITY = 80  # of WebP; `models.packs` in docs/decisions/0053 says what is lost
LONGEST = 256  # px
LARGEST = 4096  # px, of a picture that is unpacked
DAY = (1980, 1, 1, 0, 0, 0)  # of every member, so that the same sets give the same bytes
COLUMNS = ("file", "mask", "mask2", "tumour", "definition", "source", "patient", "slice", "split", "plane", "class")

Layout = Literal["grey", "colour", "stacked"]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What lies in a member, in order."""

    name: str  # path in the set
    bytes: int
    height: int  # px
    width: int  # px
    layout: Layout = "grey"


def write_pack(items: Sequence[Item], file: Path, *, quality: int = QUALITY, longest: int = LONGEST) -> Path:
    """Write a pack of these pictures; it appears whole or not at all.

    Args:
        items: the pictures; each source becomes a set.
        file: the pack.
        quality: of WebP, 1…100.
        longest: longest side of a picture, px; larger ones are shrunk, with their outlines.

    Raises:
        Refused: a picture or an outline cannot be decoded.
    """
    sets: dict[str, list[Item]] = {}
    for item in items:
        sets.setdefault(item.source, []).append(item)
    whole = file.with_name(f".{file.name}.tmp")
    index: dict[str, Any] = {}
    with zipfile.ZipFile(whole, "w") as pack:
        for name, members in sorted(sets.items()):
            pictures = _Blob(_pictures(members, quality, longest))
            outlines = _Blob(_outlines(members, longest))
            _put(pack, f"{name}/table", _table(members), zipfile.ZIP_DEFLATED)
            _put(pack, f"{name}/pictures", pictures.content)
            _put(pack, f"{name}/outlines", outlines.content, zipfile.ZIP_LZMA)
            index[name] = {"table": members[0].table, "pictures": pictures.index, "outlines": outlines.index}
        head = {"format": FORMAT, "codec": "webp", "quality": quality, "longest": longest, "sets": index}
        _put(pack, "pack.json", json.dumps(head, separators=(",", ":")).encode(), zipfile.ZIP_DEFLATED)
    return whole.replace(file)


def unpack(file: Path, folder: Path) -> Path:
    """Unpack into a folder of sets below `folder`, named by the pack's digest; one that is there already is taken.

    Raises:
        Refused: `archive_damaged`, the file is no pack, or damaged; `unsafe_name`, a name in it leads out of it.
    """
    try:
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()[:12]
    except OSError:
        raise Refused(Code.ARCHIVE_DAMAGED, "The pack cannot be read.") from None
    place = folder / f"pack-{digest}"
    if place.is_dir():
        return place
    folder.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(dir=folder))
    try:
        _unpack(file, fresh)
        fresh.rename(place)
    except (zipfile.BadZipFile, lzma.LZMAError, zlib.error, NotImplementedError, EOFError, cv2.error) as error:
        raise Refused(Code.ARCHIVE_DAMAGED, f"The pack is damaged ({type(error).__name__}).") from None
    except (KeyError, TypeError, ValueError) as error:
        raise Refused(Code.ARCHIVE_DAMAGED, f"The file is not a pack ({type(error).__name__}).") from None
    except OSError:
        if not place.is_dir():  # else another process was faster
            raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return place


def _unpack(file: Path, folder: Path) -> None:
    with zipfile.ZipFile(file) as pack:
        head = json.loads(pack.read("pack.json"))
        if head["format"] != FORMAT:
            raise ValueError("a pack of another format")
        for name, members in sorted(head["sets"].items()):
            place = _below(folder, name)
            place.mkdir()
            (place / f"{members['table']}.csv").write_bytes(pack.read(f"{name}/table"))
            pictures = _cut(pack.read(f"{name}/pictures"), members["pictures"])
            outlines = _cut(pack.read(f"{name}/outlines"), members["outlines"])
            with ThreadPoolExecutor(os.cpu_count()) as threads:
                jobs = [threads.submit(_write_picture, place, *one) for one in pictures]
                jobs += [threads.submit(_write_outline, place, *one) for one in outlines]
                for job in jobs:
                    job.result()


class _Blob:
    """Entries one after the other."""

    def __init__(self, entries: Iterable[tuple[Entry, bytes]]) -> None:
        whole = list(entries)
        self.index = [asdict(entry) for entry, _ in whole]
        self.content = b"".join(content for _, content in whole)


def _cut(content: bytes, index: Sequence[dict[str, Any]]) -> Iterator[tuple[Entry, bytes]]:
    at = 0
    for row in index:
        entry = Entry(**row)
        if not (0 < entry.height <= LARGEST and 0 < entry.width <= LARGEST and entry.bytes > 0):
            raise ValueError("an entry of no size")
        yield entry, content[at : at + entry.bytes]
        at += entry.bytes
    if at != len(content):
        raise ValueError("the entries do not fill their member")


def _pictures(items: Sequence[Item], quality: int, longest: int) -> Iterator[tuple[Entry, bytes]]:
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        yield from threads.map(_packed, range(len(items)), items, repeat(quality), repeat(longest))


def _packed(number: int, item: Item, quality: int, longest: int) -> tuple[Entry, bytes]:
    plane = _bounded(read_plane(item.file), longest)
    height, width = plane.shape[:2]
    layout: Layout = "grey" if plane.ndim == 2 else "stacked" if item.source == "lgg" else "colour"
    given = plane if layout == "grey" else plane[:, :, ::-1] if layout == "colour" else np.concatenate(_planes(plane))
    _, content = cv2.imencode(".webp", np.ascontiguousarray(given), [cv2.IMWRITE_WEBP_QUALITY, quality])
    data = content.tobytes()
    return Entry(name=_name("images", number), bytes=len(data), height=height, width=width, layout=layout), data


def _planes(plane: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    return [plane[:, :, channel] for channel in range(3)]


def _write_picture(folder: Path, entry: Entry, content: bytes) -> None:
    how = cv2.IMREAD_COLOR if entry.layout == "colour" else cv2.IMREAD_GRAYSCALE
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), how)
    rows = entry.height * 3 if entry.layout == "stacked" else entry.height
    if picture is None or picture.shape[:2] != (rows, entry.width):
        raise ValueError("a picture of another size")
    if entry.layout == "stacked":
        picture = np.dstack(np.split(picture, 3)[::-1])
    _write_png(_below(folder, entry.name), picture)


def _outlines(items: Sequence[Item], longest: int) -> Iterator[tuple[Entry, bytes]]:
    for number, item in enumerate(items):
        for kind, file in (("masks", item.mask), ("masks2", item.mask2)):
            if file is not None:
                mask = _bounded(read_mask(file).astype(np.uint8) * 255, longest) > 127
                data = np.packbits(mask).tobytes()
                yield (
                    Entry(name=_name(kind, number), bytes=len(data), height=mask.shape[0], width=mask.shape[1]),
                    data,
                )


def _write_outline(folder: Path, entry: Entry, content: bytes) -> None:
    bits = np.unpackbits(np.frombuffer(content, np.uint8), count=entry.height * entry.width)
    _write_png(_below(folder, entry.name), bits.reshape(entry.height, entry.width) * 255)


def _write_png(file: Path, picture: NDArray[Any]) -> None:
    file.parent.mkdir(exist_ok=True)
    _, content = cv2.imencode(".png", picture, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    file.write_bytes(content.tobytes())


def _table(items: Sequence[Item]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, [*COLUMNS, "note"], lineterminator="\n")
    writer.writeheader()
    for number, item in enumerate(items):
        writer.writerow(
            {
                "file": _name("images", number),
                "mask": _name("masks", number) if item.mask else "",
                "mask2": _name("masks2", number) if item.mask2 else "",
                "tumour": "yes" if item.tumour else "no",
                "definition": item.definition or "",
                "source": item.source,
                "patient": item.group,
                "slice": item.number or "",
                "split": item.split,
                "plane": item.plane,
                "class": item.kind,
                "note": "doubtful" if item.doubtful else "",
            }
        )
    return text.getvalue().encode()


def _name(kind: str, number: int) -> str:
    return f"{kind}/{number:06d}.png"


def _bounded(picture: NDArray[np.uint8], longest: int) -> NDArray[np.uint8]:
    height, width = picture.shape[:2]
    scale = longest / max(height, width)
    if scale >= 1:
        return picture
    return np.asarray(resize(picture, max(round(height * scale), 1), max(round(width * scale), 1)), np.uint8)


def _below(folder: Path, name: str) -> Path:
    place = folder / name
    if place == folder or folder not in place.parents or ".." in place.parts:
        raise Refused(Code.UNSAFE_NAME, "A name in the pack leads out of it.")
    return place


def _put(pack: zipfile.ZipFile, name: str, content: bytes, how: int = zipfile.ZIP_STORED) -> None:
    member = zipfile.ZipInfo(name, DAY)
    member.compress_type, member.create_system = how, 3
    pack.writestr(member, content)
