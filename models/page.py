"""What `neurobatch evaluate --to FOLDER` writes: a page for people, its tables and plots, and every figure as JSON."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from models.evaluate import Evaluation
from models.gallery import draw_gallery
from models.plots import draw_plots
from models.summary import Table, as_csv, as_json, tables
from neurobatch.codes import DISCLAIMER, Code
from neurobatch.errors import Refused

STYLE = (
    "body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;color:#222}"
    "table{border-collapse:collapse;margin:.5rem 0 1.5rem;font-size:13px}"
    "th,td{border-bottom:1px solid #ccc;padding:.25rem .6rem;text-align:left}"
    "img{max-width:100%}.note{border-left:4px solid #b00;padding:.2rem .8rem;background:#fbf3f3}"
)
NOT_IN_HEAD = ("parts", "labels", "training")


def write_report(evaluation: Evaluation, folder: Path) -> Path:
    """Write `report.html`, `figures.json`, `figures.csv`, plots and galleries into a folder; gives the page.

    Raises:
        Refused: `invalid_field`, the folder cannot be written.
    """
    figures = evaluation.figures
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "figures.json").write_text(as_json(figures), encoding="utf-8")
        (folder / "figures.csv").write_text(as_csv(figures), encoding="utf-8")
        plots = draw_plots(figures["parts"], folder)
        sheets = draw_gallery(evaluation.cases, folder)
        page = folder / "report.html"
        page.write_text(html_page(figures, plots, sheets), encoding="utf-8")
    except OSError as error:
        raise Refused(Code.INVALID_FIELD, f"The folder cannot be written: {error.strerror}") from None
    return page


def html_page(figures: Mapping[str, Any], plots: Sequence[str], sheets: Sequence[str]) -> str:
    """The page; pictures lie beside it."""
    head = [(name.replace("_", " "), str(value)) for name, value in figures.items() if name not in NOT_IN_HEAD]
    body = [
        f"<h1>Evaluation of {escape(str(figures.get('network') or 'a batch'))}</h1>",
        f'<p class="note">{escape(DISCLAIMER)}</p>',
        _rows(head),
        *(_section(table) for table in tables(figures)),
        *_lists(figures.get("labels", {})),
        *(f'<h2>{_title(name)}</h2><img src="{name}" alt="{_title(name)}">' for name in plots),
        *(["<h2>The worst cases</h2>"] if sheets else []),
        *(f'<p><img src="{name}" alt="worst cases, sheet {number}"></p>' for number, name in enumerate(sheets, 1)),
    ]
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Evaluation</title><style>{STYLE}</style>\n'
        + "\n".join(body)
        + "\n</html>\n"
    )


def _section(table: Table) -> str:
    header = "".join(f"<th>{escape(cell)}</th>" for cell in table.header)
    told = f"<p>{escape(table.told)}</p>" if table.told else ""
    return f"<h2>{escape(table.title)}</h2>{told}<table><tr>{header}</tr>{_cells(table.rows)}</table>"


def _rows(rows: Iterable[Sequence[str]]) -> str:
    return f"<table>{_cells(rows)}</table>"


def _cells(rows: Iterable[Sequence[str]]) -> str:
    return "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)


def _lists(labels: Mapping[str, Any]) -> list[str]:
    """What stands alone, and what is most wrong, line by line."""
    return [
        f"<details><summary>{escape(name.replace('_', ' '))}: {len(lines)}</summary><ul>"
        + "".join(f"<li>{escape(line)}</li>" for line in lines)
        + "</ul></details>"
        for name, lines in labels.items()
        if isinstance(lines, list) and lines
    ]


def _title(name: str) -> str:
    word = name.removesuffix(".png").replace("-", " and ")
    return "ROC" if word == "roc" else word.capitalize()
