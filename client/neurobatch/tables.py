"""Results as CSV (RFC 4180, UTF-8): one row a scan, the same columns wherever a table is written."""

import csv
import io

from neurobatch.records import DuplicateLine, Extent, LeftOutLine, Result

COLUMNS = (
    "scan", "path", "kind", "state", "code", "finding", "probability", "threshold", "reasons",
    "extent_definition", "extent_px", "area_mm2", "volume_mm3", "diameter_mm",
    "slices", "files", "study_uid", "series_uid", "models", "engine", "precision", "warnings",
)  # fmt: skip

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def csv_header() -> bytes:
    """The header line."""
    return _line(COLUMNS)


def csv_row(result: Result) -> bytes:
    """One result as a line. Text that a spreadsheet would run as a formula gets an apostrophe before it."""
    finding = result.finding
    extent = max(result.extents, key=lambda extent: extent.pixels, default=_NO_EXTENT)
    measured = bool(result.extents)
    return _line(
        (
            result.scan, _text(result.path), result.kind.value, result.state.value, result.code or "",
            finding.label.value if finding else "",
            finding.probability if finding else "",
            finding.threshold if finding else "",
            " ".join(finding.reasons) if finding else "",
            extent.definition, extent.pixels if measured else "",
            extent.area_mm2, extent.volume_mm3, extent.diameter_mm,
            result.slices, result.files, result.study_uid or "", result.series_uid or "",
            " ".join(model.name for model in result.models), result.engine or "", result.precision or "",
            " ".join(result.warnings),
        )
    )  # fmt: skip


def left_out_header() -> bytes:
    """The header line of the left-out list."""
    return _line(("path", "code", "meaning"))


def left_out_row(line: LeftOutLine) -> bytes:
    """One left-out file as a line."""
    return _line((_text(line.path), line.code.value, line.code.sentence))


def duplicates_header() -> bytes:
    """The header line of the list of duplicates."""
    return _line(("scan", "path", "first", "first_path"))


def duplicates_row(line: DuplicateLine) -> bytes:
    """One scan whose content came before as a line."""
    return _line((line.scan, _text(line.path), line.first, _text(line.first_path)))


_NO_EXTENT = Extent(definition="", pixels=0)


def _text(value: str) -> str:
    return f"'{value}" if value.startswith(_FORMULA) else value


def _line(values: tuple[object, ...]) -> bytes:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow("" if value is None else value for value in values)
    return out.getvalue().encode("utf-8", "replace")
