"""Tables that people wrote: CSV with a header, read as spreadsheets save them; every fault names its row.

A byte-order mark, semicolons or tabs between the cells, capitals and blanks in the header, and empty lines do no harm.
Rows are counted as a spreadsheet does: the header is row 1.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

from neurobatch.codes import Code
from neurobatch.errors import Refused

YES = frozenset({"yes", "y", "1", "true", "tumour", "tumor"})
NO = frozenset({"no", "n", "0", "false", "no_tumour", "no_tumor", "notumor", "notumour", "no tumour", "no tumor"})
DELIMITERS = ",;\t"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of a table."""

    table: str  # what it is called in errors; never a path
    number: int  # the header is row 1
    cells: dict[str, str]  # by the header's word in small letters; no blanks around

    def text(self, *columns: str) -> str:
        """The first of these columns that says something; empty where none does."""
        return next((cell for column in columns if (cell := self.cells.get(column, ""))), "")

    def needed(self, *columns: str) -> str:
        """As `text`. Raises `Refused(bad_table)` where none says something."""
        found = self.text(*columns)
        if not found:
            raise self.fault(f"there is nothing under {' or '.join(columns)}")
        return found

    def whole(self, column: str) -> int | None:
        """A whole number, None where the cell is empty. Raises `Refused(bad_table)`."""
        cell = self.text(column)
        try:
            return int(float(cell)) if cell else None
        except (ValueError, OverflowError):
            raise self.fault(f"{column} is not a number") from None

    def yes(self, *columns: str) -> bool | None:
        """Tumour or none, in one of the words of `YES` and `NO`; None where nothing is said. Raises `Refused`."""
        word = self.text(*columns).lower()
        if word and word not in YES | NO:
            raise self.fault(f"{' or '.join(columns)} is neither yes nor no (tumour, no_tumour, 1, 0)")
        return word in YES if word else None

    def fault(self, what: str, code: Code = Code.BAD_TABLE) -> Refused:
        """An error that names the row."""
        return Refused(code, f"{self.table}, row {self.number}: {what}.")


def read_rows(file: Path, table: str) -> list[Row]:
    """All rows that are not empty.

    Args:
        file: the table.
        table: what it is called in errors.

    Raises:
        Refused: `bad_table`, it cannot be read, is not UTF-8 or has no header.
    """
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            header = stream.readline()
            stream.seek(0)
            delimiter = max(DELIMITERS, key=header.count)
            reader = csv.DictReader(stream, delimiter=delimiter, skipinitialspace=True)
            names = [(name or "").strip().lower() for name in reader.fieldnames or ()]
            if not any(names):
                raise Refused(Code.BAD_TABLE, f"{table}: there is no header.")
            reader.fieldnames = names
            return [Row(table=table, number=reader.line_num, cells=_cells(row)) for row in reader if any(row.values())]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise Refused(Code.BAD_TABLE, f"{table} cannot be read as CSV in UTF-8 ({type(error).__name__}).") from None


def _cells(row: dict[str, str | None]) -> dict[str, str]:
    return {name: (cell or "").strip() for name, cell in row.items() if name and not isinstance(cell, list)}
