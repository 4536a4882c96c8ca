"""The page on choices at test time, from the figures of `models.choices`."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from textwrap import fill
from typing import Any

from models.summary import NOTHING, Table, as_markdown, cell, title_of
from neurobatch.codes import DISCLAIMER

WIDTH = 118
PAGE = "choices.md"
TEXT = """# Choices at test time

{disclaimer}

{told}

{tables}
"""
TOLD = (
    "Made by `python -m models.choices DATA CACHE` on the validation part, with {engine}, {precision}. A classifier's "
    "figure is the AUC; a segmenter's the mean Dice, by patient where slices form volumes, else by slice. Beside each "
    "figure stands how much it is above the first row, with the 95 % interval over patients or groups. A choice pays "
    "where that interval lies above zero; what it costs is the number of times that a network runs for a picture. "
    "Regions are counted in px of the network's square. Of a cascade the figures are sensitivity and specificity "
    "at the operating point."
)


def write_choices(figures: Mapping[str, Any], folder: Path) -> Path:
    """Write the page; the same figures give the same text."""
    told = fill(TOLD.format(engine=figures["engine"], precision=figures["precision"]), WIDTH)
    shown = [f"## {table.title}\n\n{as_markdown(table)}" for table in _tables(figures)]
    file = folder / PAGE
    file.write_text(TEXT.format(disclaimer=DISCLAIMER, told=told, tables="\n\n".join(shown)), encoding="utf-8")
    return file


def _tables(figures: Mapping[str, Any]) -> Iterator[Table]:
    for title, choices in figures["choices"].items():
        parts = list(dict.fromkeys(part for choice in choices.values() for part in choice["parts"]))
        yield Table(
            title=title,
            told="",
            header=("choice", "runs", *map(title_of, parts)),
            rows=tuple(
                (name, f"{choice['runs']:g}", *(_both(choice["parts"].get(part, {})) for part in parts))
                for name, choice in choices.items()
            ),
        )


def _both(figure: Mapping[str, Any]) -> str:
    if "more" not in figure:
        return cell(figure, "value") if figure else NOTHING
    low, high = figure["more_95"] or (figure["more"], figure["more"])
    return f"{figure['value']:.3f} ({figure['more']:+.3f} [{low:+.3f}, {high:+.3f}])"
