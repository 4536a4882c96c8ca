"""`docs/benchmarks.md`, written from the reports that lie beside it."""

from collections.abc import Sequence
from pathlib import Path

from bench.report import Report, number, ratio, spread

MADE = "<!-- made by `python -m bench page` from the files in `benchmarks/`; do not edit -->"
ORDER = ("throughput", "limit", "stages", "series", "queue", "scale", "again", "memory", "engines", "denoise")
HEAD = f"""# Benchmarks
{MADE}

Each table is one run of one command, and what it compares was measured in turn in that run (A B A B): ratios hold where
other machines give other times. All scans are phantoms, so anybody can repeat it (`make bench ARGS="throughput --help"`
tells the options):

```sh
make bench ARGS=throughput                 # also: limit, stages, series, queue, scale, again, memory, engines, denoise
make bench ARGS="page --from runs/bench"   # this page, from the reports that the commands left in runs/bench
```
"""


def reports(folder: Path) -> list[Report]:
    """All reports that lie in a folder, in the order of the page."""
    found = [Report.model_validate_json(file.read_text(encoding="utf-8")) for file in sorted(folder.glob("*.json"))]
    return sorted(found, key=_place)


def page(found: Sequence[Report]) -> str:
    """The whole page."""
    return HEAD + "".join(_section(report) for report in found)


def _place(report: Report) -> tuple[int, str]:
    command = report.name.partition("-")[0]
    return (ORDER.index(command) if command in ORDER else len(ORDER)), report.name


def _section(report: Report) -> str:
    lines = [
        "",
        f"## {report.title}",
        "",
        f"| | median | of {report.rounds} rounds | {report.ratio} |",
        "|---|---:|---:|---:|",
    ]
    lines += [
        f"| {row.name} | {number(row.median)} {row.unit} | {spread(row, report.rounds)} | {ratio(row)} |"
        for row in report.rows
    ]
    lines += [f"| {name} | {reason} | | |" for name, reason in report.absent.items()]
    lines += ["", f"![{report.title}](benchmarks/{report.name}.svg)", ""]
    lines += [f"{note}  " for note in report.notes]
    asked = ", ".join(f"{name} {value}" for name, value in report.sizes.items())
    machine = report.machine
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    busy = "" if machine.idle else " (others were at work: only the ratios say something)"
    command = f"`bench {report.name.partition('-')[0]}`: {asked}; {report.measured}; {machine.told}{busy}"
    lines.append(f"*{command}; {machine.system}, Python {machine.python}, {versions}.*")
    return "\n".join(lines) + "\n"
