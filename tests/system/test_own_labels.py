"""A site judges scans at a threshold of its own and compares the finished batch with its labels, as a user does."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from neurobatch.codes import DISCLAIMER
from tests.models.labelled import head, spot, write_picture

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


def neurobatch(home: Path, *words: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    env = {**os.environ, "NEUROBATCH_HOME": str(home), "COLUMNS": "160", **settings}
    command = [sys.executable, "-m", "neurobatch", *words]
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=300, check=False)


def test_findings_are_made_at_the_site_s_threshold_and_measured_on_its_labels(tmp_path: Path) -> None:
    scans, home, report = tmp_path / "scans", tmp_path / "home", tmp_path / "report"
    for name in ("one", "two", "three"):
        write_picture(scans / "ward" / f"{name}.png", head(160) + spot(60, 60, 12, side=160) // 3)
    done = neurobatch(home, "process", str(scans), "--json", NEUROBATCH_THRESHOLD="0.0")
    assert done.returncode == 0, done.stderr
    batch = json.loads(done.stdout)["id"]

    for line in neurobatch(home, "results", batch, "--json").stdout.splitlines():
        result = json.loads(line)
        assert result["finding"]["threshold"] == 0.0
        assert "site_threshold" in result["warnings"]

    labels = tmp_path / "labels.csv"
    labels.write_text("path,label\nward/one.png,tumour\nward/two.png,no_tumour\nward/four.png,yes\n")
    done = neurobatch(
        home, "evaluate", "--batch", batch, "--labels", str(labels), "--to", str(report), "--json", str(tmp_path / "f")
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "f").read_text())
    assert figures["threshold_of"] == "the site"
    assert figures["parts"]["findings"]["confusion"] == {"tp": 1, "fn": 0, "fp": 1, "tn": 0}
    assert figures["labels"]["labels_without_scan"] == ["row 4: ward/four.png"]
    assert len(figures["labels"]["scans_without_label"]) == 1
    assert DISCLAIMER in (report / "report.html").read_text()
