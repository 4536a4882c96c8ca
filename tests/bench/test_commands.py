"""Each command runs from its scans to its report, with the smallest of sizes."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.commands import bench
from bench.page import reports
from bench.report import Report


def run(tmp_path: Path, *words: str) -> Report:
    done = CliRunner().invoke(bench, [*words, "--out", str(tmp_path)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    (report,) = reports(tmp_path)
    assert report.title in done.output
    return report


def ratios(report: Report) -> dict[str, float | None]:
    return {row.name: row.ratio for row in report.rows}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_throughput_compares_with_peers_on_the_same_scans(tmp_path: Path) -> None:
    peers = ("loop, Keras predict", "Celery, one task a picture", "tf.data, predict in batches")
    asked = ("--peer", "loop", "--peer", "celery", "--peer", "tf-data")
    report = run(tmp_path, "throughput", "--scans", "6", "--rounds", "1", *asked)
    assert set(ratios(report)) == {"neurobatch", *peers}
    assert ratios(report)["neurobatch"] == 1.0
    assert report.absent == {}
    assert all(f"{peer}: 6" in " ".join(report.notes) for peer in peers)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_limit_tells_the_share_of_the_kernels(tmp_path: Path) -> None:
    report = run(tmp_path, "limit", "--scans", "6", "--rounds", "1")
    assert ratios(report)["bare kernels"] == 1.0
    assert (ratios(report)["neurobatch"] or 0) > 0


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_what_is_sent_again_is_taken_over(tmp_path: Path) -> None:
    report = run(tmp_path, "again", "--scans", "6", "--rounds", "1")
    assert ratios(report)["the first time"] == 1.0
    assert (ratios(report)["sent again"] or 0) > 0


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_stages_add_up(tmp_path: Path) -> None:
    report = run(tmp_path, "stages", "--scans", "6", "--rounds", "1")
    *each, whole, _ = report.rows
    assert sum(row.median for row in each) == pytest.approx(whole.median, rel=0.01)
    assert sum(row.ratio or 0 for row in each) == pytest.approx(1.0, abs=0.01)
    assert min(row.median for row in each) > 0


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_series_tells_the_share_of_the_kernels(tmp_path: Path) -> None:
    report = run(tmp_path, "series", "--slices", "12", "--rounds", "1")
    assert ratios(report)["bare kernels"] == 1.0
    assert (ratios(report)["neurobatch"] or 0) > 0
    assert {row.unit for row in report.rows} == {"ms"}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_memory_is_looked_at_after_each_batch(tmp_path: Path) -> None:
    report = run(tmp_path, "memory", "--batches", "2", "--scans", "6")
    assert [(row.name, row.at) for row in report.rows] == [("after 6 scans", 6), ("after 12 scans", 12)]
    first, second = (row.median for row in report.rows)
    assert first > 100  # MiB: networks are loaded
    assert ratios(report)["after 12 scans"] == pytest.approx(second / first, abs=0.01)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_queue_carries_every_scan(tmp_path: Path) -> None:
    report = run(tmp_path, "queue", "--scans", "40", "--rounds", "1")
    figures = {row.name: row.median for row in report.rows}
    assert figures["scans from request to end"] == pytest.approx(40 / figures["ended"], rel=0.01)
    assert figures["accepted"] < figures["ended"]
    assert figures["first result"] <= figures["ended"]
    assert figures["CPU of all processes a scan"] > 0
    assert figures["one picture alone, until its result"] > 0


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_many_scans_by_reference_are_watched_until_they_are_planned(tmp_path: Path) -> None:
    report = run(tmp_path, "queue", "--by-reference", "1100")
    assert report.name == "queue-by-reference"
    figures = {f"{row.name}, {row.unit}": row.median for row in report.rows}
    assert 0 < figures["accepted, s"] < figures["planned and queued, s"]
    assert figures["planned and queued a second, scans/s"] == pytest.approx(
        1100 / figures["planned and queued, s"], rel=0.01
    )
    assert figures["largest process, MiB"] >= figures["supervisor after 1,000 results, MiB"] > 0


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_scale_compares_numbers_of_workers(tmp_path: Path) -> None:
    asked = ("--workers", "1", "--workers", "2", "--batches", "2", "--wait", "0.1", "--slices", "8")
    report = run(tmp_path, "scale", *asked)
    assert [(row.name, row.at) for row in report.rows] == [("1 worker", 1), ("2 workers", 2)]
    assert ratios(report)["1 worker"] == 1.0
    assert ratios(report)["2 workers"] == pytest.approx(report.rows[1].median / report.rows[0].median / 2, rel=0.01)
    assert max(row.median for row in report.rows) < 2 * 32 / 0.1  # no worker is faster than its network


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_engines_are_compared_with_keras(tmp_path: Path) -> None:
    report = run(tmp_path, "engines", "--pictures", "1", "--network", "mobilenet", "--rounds", "1")
    assert ratios(report)["mobilenet: keras float32, batch 1"] == 1.0
    assert "mobilenet: openvino float32, batch 16" in ratios(report)


def test_denoise_is_compared_with_opencv(tmp_path: Path) -> None:
    found = ratios(run(tmp_path, "denoise", "--repeats", "1", "--rounds", "1"))
    assert found["OpenCV, colour, window 21"] == found["OpenCV, grey, window 11"] == 1.0
    assert (found["neurobatch, grey, window 11"] or 0) > 0
    assert found["contrast, grey"] is None


def test_a_user_of_wrong_options_is_told() -> None:
    done = CliRunner().invoke(bench, ["throughput", "--scans", "0"])
    assert done.exit_code == 2
    assert "--scans" in done.output
