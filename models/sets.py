"""Labelled sets: which pictures there are and what is known of each, read from the tables in their folders.

A set is a folder with `slices.csv` or `images.csv`:

    slices.csv   file, and mask or tumour_pixels; patient, slice, split, class, plane, mask2 and others where known.
                 With one of class, plane, pid, mask2 or n in its header: single slices whose tumour core was outlined
                 (T1ce); with slice: volumes as consecutive slices, whose FLAIR abnormality was outlined (LGG); with
                 none of these: the first where the first picture is grey, the second where it is in colour.
    images.csv   file and label (yes, no, 1, 0, tumour, no_tumour); source, group, split, mask, note where known.

Only `file` and one column that tells of the tumour must be there. In outlines 255 is tumour. What a row says under
`source` or `definition` (flair, core) goes before what the layout implies. Where there is no patient, a pid without the
letters at its end, which tell examinations of one patient apart, is taken for one.
"""

from pathlib import Path
from string import ascii_letters

from models.data import Definition, Item, read_mask, read_plane
from models.rows import Row, read_rows
from neurobatch.codes import Code
from neurobatch.errors import Refused

OF_SINGLE_SLICES = frozenset({"class", "plane", "pid", "mask2", "n"})


def read_sets(folder: Path) -> list[Item]:
    """Read every set in `folder`: it is a set itself, or holds sets as sub-folders.

    Raises:
        Refused: `no_set`, there is no set here; `bad_table`, a row cannot be used; `source_missing`, a row names a
            file that is not there. The error names the row.
    """
    places = [folder, *sorted(path for path in folder.iterdir() if path.is_dir())]
    items = [item for place in places for item in _read_set(place)]
    if not items:
        raise Refused(Code.NO_SET, "The folder and those in it hold no slices.csv and no images.csv with rows.")
    return items


def _read_set(folder: Path) -> list[Item]:
    slices, images = folder / "slices.csv", folder / "images.csv"
    if slices.is_file():
        rows = read_rows(slices, "slices.csv")
        single = bool(rows) and _single(folder, rows[0])
        return [_slice(folder, row, single=single) for row in rows]
    return [_picture(folder, row) for row in read_rows(images, "images.csv")] if images.is_file() else []


def _single(folder: Path, first: Row) -> bool:
    """Whether a table lists single slices, not volumes."""
    if not OF_SINGLE_SLICES.isdisjoint(first.cells):
        return True
    return "slice" not in first.cells and read_plane(_file(folder, first)).ndim == 2


def _slice(folder: Path, row: Row, *, single: bool) -> Item:
    file, mask = _file(folder, row), _optional(folder, row, "mask")
    return Item(
        source=row.text("source") or ("t1ce" if single else "lgg"),
        file=file,
        mask=mask,
        mask2=_optional(folder, row, "mask2"),
        definition=_definition(row, "core" if single else "flair"),
        tumour=_tumour(row, mask),
        group=row.text("patient", "group") or row.text("pid").rstrip(ascii_letters) or file.stem,
        split=row.text("split"),
        plane=row.text("plane") or ("" if single else "axial"),
        doubtful=bool(row.text("note")),
        kind=row.text("class"),
        number=row.whole("slice") or 0,
        row=row.number,
    )


def _picture(folder: Path, row: Row) -> Item:
    file, mask = _file(folder, row), _optional(folder, row, "mask")
    return Item(
        source=row.text("source") or folder.name,
        file=file,
        mask=mask,
        mask2=_optional(folder, row, "mask2"),
        definition=_definition(row, "core") if mask else None,
        tumour=_tumour(row, mask),
        group=row.text("group", "patient") or file.stem,
        split=row.text("split"),
        plane=row.text("plane"),
        doubtful=bool(row.text("note")),
        kind=row.text("cls", "class"),
        row=row.number,
        table="images",
    )


def _tumour(row: Row, mask: Path | None) -> bool:
    """What the row says, else what its outline shows."""
    pixels, label = row.whole("tumour_pixels"), row.yes("label", "tumour")
    if pixels is not None:
        return pixels > 0
    if label is not None:
        return label
    if mask is None:
        raise row.fault("neither tumour_pixels, label nor mask tells whether there is a tumour")
    try:
        return bool(read_mask(mask).any())
    except Refused:
        raise row.fault("its outline cannot be decoded", Code.UNREADABLE) from None


def _definition(row: Row, implied: Definition) -> Definition:
    said = row.text("definition").lower()
    if said == "flair":
        return "flair"
    if said == "core":
        return "core"
    if said:
        raise row.fault("definition is neither flair nor core")
    return implied


def _file(folder: Path, row: Row) -> Path:
    return _there(folder, row, row.needed("file", "path"), "picture")


def _optional(folder: Path, row: Row, column: str) -> Path | None:
    named = row.text(column)
    return _there(folder, row, named, "outline") if named else None


def _there(folder: Path, row: Row, named: str, what: str) -> Path:
    file = folder / named.replace("\\", "/")
    if not file.is_file():
        raise row.fault(f"the {what} that it names is not there", Code.SOURCE_MISSING)
    return file
