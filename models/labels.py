"""A site's own labels of a batch's scans: a CSV of path, label and, where there is one, an outline."""

from dataclasses import dataclass
from pathlib import Path

from models.rows import Row, read_rows
from neurobatch.codes import Code

TABLE = "labels"
FORMULA = ("'=", "'+", "'-", "'@")  # how results.csv writes a path that a spreadsheet would run


@dataclass(frozen=True, kw_only=True)
class Label:
    """What somebody who knows says of one scan."""

    row: int  # of the table, where the header is row 1
    path: str  # "/" between parts; the scan's path in the results, the end of it, its scan id or its Series UID
    tumour: bool
    mask: Path | None  # an outline on the scan's own grid
    group: str  # scans of one patient; empty where it is not stated


def read_labels(file: Path) -> list[Label]:
    """Read labels. Columns: path (or file, scan), label (or tumour), and mask, patient (or group) where known.

    Raises:
        Refused: `bad_table`, the table or a row cannot be used; `source_missing`, a mask is not there; the row is told.
    """
    return [_label(file.parent, row) for row in read_rows(file, TABLE)]


def _label(folder: Path, row: Row) -> Label:
    tumour = row.yes("label", "tumour")
    if tumour is None:
        raise row.fault("there is nothing under label")
    return Label(
        row=row.number,
        path=plain_path(row.needed("path", "file", "scan")),
        tumour=tumour,
        mask=_mask(folder, row),
        group=row.text("patient", "group"),
    )


def _mask(folder: Path, row: Row) -> Path | None:
    named = row.text("mask")
    if not named:
        return None
    file = folder / named.replace("\\", "/")
    if not file.is_file():
        raise row.fault("the mask that it names is not there", Code.SOURCE_MISSING)
    return file


def plain_path(path: str) -> str:
    """A path as it is compared: `/` between parts, nothing before the first one."""
    text = path[1:] if path.startswith(FORMULA) else path
    return "/".join(part for part in text.replace("\\", "/").split("/") if part not in ("", "."))
