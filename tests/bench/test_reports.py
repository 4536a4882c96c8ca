"""Reports survive being written, and the page of benchmarks is what they say."""

import io
from datetime import date
from pathlib import Path

from click.testing import CliRunner
from rich.console import Console

from bench.commands import bench
from bench.machine import Machine, this_machine
from bench.page import page, reports
from bench.report import Report, Row
from tests.project.tree import ROOT

MACHINE = Machine(
    processor="A processor", features=("avx2",), cores=2, memory_gib=8.0, load=0.1, system="Linux 6", python="3.11.2",
    versions={"neurobatch": "1.0.0"},
)  # fmt: skip
REPORT = Report(
    name="throughput", title="Throughput", ratio="× the loop", sizes={"scans": 8}, rounds=2, seconds=3.0,
    rows=(Row.of("ours", "scans/s", [40.0, 41.0], [5.0, 5.0]),), notes=("All the same.",),
    measured=date(2026, 1, 2), machine=MACHINE,
)  # fmt: skip


def shown(report: Report) -> str:
    out = io.StringIO()
    report.show(Console(file=out, width=160))
    return out.getvalue()


def test_a_report_comes_back_as_it_was_written(tmp_path: Path) -> None:
    REPORT.write(tmp_path)
    assert reports(tmp_path) == [REPORT]


def test_the_table_shows_figure_range_and_ratio() -> None:
    line = next(line for line in shown(REPORT).splitlines() if line.startswith("ours"))
    assert line.split() == ["ours", "40.5", "scans/s", "40–41", "8.10"]


def test_a_machine_that_was_busy_is_told() -> None:
    busy = REPORT.model_copy(update={"machine": MACHINE.model_copy(update={"load": 3.0})})
    assert "Others were at work" not in shown(REPORT)
    assert "Others were at work" in shown(busy)
    assert "others were at work" in page([busy])


def test_every_report_names_processor_and_versions() -> None:
    here = this_machine()
    assert here.processor
    assert here.cores >= 1
    assert {"neurobatch", "numpy", "openvino"} <= set(here.versions)


def test_the_page_has_a_section_for_each_report_in_order() -> None:
    limit = REPORT.model_copy(update={"name": "limit", "title": "Limit"})
    text = page(sorted([limit, REPORT], key=lambda report: report.name))
    assert text.index("## Limit") < text.index("## Throughput")
    assert "| ours | 40.5 scans/s | 40–41 | 8.10 |" in text


def test_what_has_no_figure_stands_in_table_and_page_with_the_reason() -> None:
    without = REPORT.model_copy(update={"absent": {"theirs": "not installed: no space left"}})
    assert "not installed: no space left" in shown(without)
    assert "| theirs | not installed: no space left | | |" in page([without])


def test_a_report_is_drawn_as_bars_of_its_ratios(tmp_path: Path) -> None:
    REPORT.write(tmp_path)
    plot = (tmp_path / "throughput.svg").read_text()
    assert all(text in plot for text in (REPORT.title, REPORT.ratio, "ours", ">8.1<"))


def test_points_of_a_curve_are_drawn_as_one_beside_the_line(tmp_path: Path) -> None:
    points = [Row.of(f"{n} workers", "scans/s", [10.0 * n]).model_copy(update={"at": n}) for n in (1, 2)]
    REPORT.model_copy(update={"rows": tuple(points)}).write(tmp_path)
    plot = (tmp_path / "throughput.svg").read_text()
    assert all(text in plot for text in ("linear", "2 workers", "scans/s"))


def test_equal_reports_are_drawn_in_equal_bytes(tmp_path: Path) -> None:
    first = REPORT.write(tmp_path / "first").with_suffix(".svg").read_bytes()
    assert REPORT.write(tmp_path / "second").with_suffix(".svg").read_bytes() == first


def test_the_command_takes_reports_over_and_writes_the_page(tmp_path: Path) -> None:
    REPORT.write(tmp_path / "runs")
    done = CliRunner().invoke(bench, ["page", "--from", str(tmp_path / "runs"), "--docs", str(tmp_path / "docs")])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "docs" / "benchmarks.md").read_text() == page([REPORT])
    assert (tmp_path / "docs" / "benchmarks" / "throughput.svg").exists()


def test_the_page_of_this_repository_is_what_its_reports_say() -> None:
    docs = ROOT / "docs"
    found = reports(docs / "benchmarks")
    assert (docs / "benchmarks.md").read_text() == page(found)
    assert all((docs / "benchmarks" / f"{report.name}.svg").exists() for report in found)
