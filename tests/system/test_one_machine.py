"""`neurobatch process` and `neurobatch serve` as a user runs them, with the embedded broker and the folder store."""

import csv
import json
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from neurobatch.client import Client
from neurobatch.display import FINAL
from neurobatch.records import BatchState, Label, Options
from tests.servers.processes import free_ports, wait_for
from tests.system.compose import ROOT, answers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

EXAMPLES = ROOT / "examples"
EXPECTED = {row["path"]: row["finding"] for row in csv.DictReader((EXAMPLES / "expected.csv").read_text().splitlines())}


class Home:
    """A user with a data folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = {**os.environ, "NEUROBATCH_HOME": str(folder), "COLUMNS": "160"}

    def start(self, *words: str) -> "subprocess.Popen[str]":
        # As in a terminal: where the tests run in a shell's background, Ctrl-C is ignored, and children inherit that.
        command = ["env", "--default-signal=INT", sys.executable, "-m", "neurobatch", *words]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=self.env, start_new_session=True)

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "neurobatch", *words]
        return subprocess.run(command, capture_output=True, text=True, env=self.env, timeout=300, check=False)

    def judge(self, *words: str, code: int = 0) -> dict[str, Any]:
        """`process … --json`."""
        done = self.run("process", *words, "--json")
        assert done.returncode == code, done.stderr
        status: dict[str, Any] = json.loads(done.stdout)
        return status

    def results(self, batch: str) -> list[dict[str, Any]]:
        """The lines of `results --json`."""
        return [json.loads(line) for line in self.run("results", batch, "--json").stdout.splitlines()]

    def processes(self) -> list[int]:
        """Processes that know this data folder: what a command started and has not stopped."""
        found = []
        for environ in Path("/proc").glob("[0-9]*/environ"):
            try:
                if str(self.folder).encode() in environ.read_bytes():
                    found.append(int(environ.parent.name))
            except OSError:
                continue
        return found


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """One data folder for the module, so that networks are made ready once."""
    return Home(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def judged(home: Home) -> dict[str, Any]:
    """The examples, judged."""
    return home.judge(str(EXAMPLES))


def test_every_example_gets_the_finding_that_it_should_have(home: Home, judged: dict[str, Any]) -> None:
    found = {result["path"]: result["finding"]["label"] for result in home.results(judged["id"])}
    assert found == EXPECTED


def test_the_same_command_shows_the_same_batch_and_a_person_sees_its_table(home: Home, judged: dict[str, Any]) -> None:
    again = home.run("process", str(EXAMPLES))
    assert again.returncode == 0
    assert judged["id"] in again.stdout
    for path in EXPECTED:
        assert path in again.stdout
    assert "not an approved medical device" in again.stdout
    assert home.processes() == []


def test_new_begins_afresh_and_gives_the_same_bytes(
    home: Home, judged: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(home.env, "NEUROBATCH_REUSE", "false")  # else nothing would be judged again
    fresh = home.judge(str(EXAMPLES), "--new")
    assert fresh["id"] != judged["id"]
    assert fresh["reused"] == 0
    assert home.results(fresh["id"]) == home.results(judged["id"])
    assert home.judge(str(EXAMPLES))["id"] == fresh["id"]


def test_an_archive_gives_the_verdicts_that_its_folder_gives(
    home: Home, judged: dict[str, Any], tmp_path: Path
) -> None:
    with zipfile.ZipFile(tmp_path / "ward.zip", "w") as archive:
        for file in sorted(EXAMPLES.rglob("*")):
            archive.write(file, file.relative_to(EXAMPLES))
    packed = home.judge(str(tmp_path / "ward.zip"))
    told = {result["path"].removeprefix("ward.zip/"): result for result in home.results(packed["id"])}
    for result in home.results(judged["id"]):
        twin = told[result["path"]]
        assert (twin["finding"], twin["extents"]) == (result["finding"], result["extents"])


def test_results_are_copied_out_under_the_scans_own_names(home: Home, judged: dict[str, Any], tmp_path: Path) -> None:
    assert home.judge(str(EXAMPLES), "--to", str(tmp_path / "out"))["id"]
    names = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*")}
    assert {"flair_glioma.png_mask.png", "flair_glioma.png_overlay.png", "flair_glioma.png_report.json"} <= names
    assert {"dicom_flair_glioma_mask.nii.gz", "results.csv", "results.jsonl", "left-out.csv"} <= names


def test_a_scan_that_fails_is_exit_3_and_the_rest_is_judged(home: Home, tmp_path: Path) -> None:
    data = (EXAMPLES / "flair_glioma.png").read_bytes()
    (tmp_path / "good.png").write_bytes(data)
    (tmp_path / "cut.png").write_bytes(data[: len(data) // 2])
    status = home.judge(str(tmp_path), code=3)
    assert (status["state"], status["counts"]["failed"], status["counts"]["tumour"]) == ("completed", 1, 1)


def test_ctrl_c_stops_everything_and_the_same_command_goes_on(home: Home, tmp_path: Path) -> None:
    scans = tmp_path / "scans"
    made = home.run("phantom", str(scans), "--count", "150", "--seed", "3", "--jobs", "2")
    assert made.returncode == 0
    running = home.start("process", str(scans))
    batches = home.folder / "store" / "tenants" / "local" / "batches"
    known = {path.name for path in batches.glob("*")}
    assert wait_for(lambda: any(begun(path) for path in batches.glob("*") if path.name not in known), 120)
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=60)
    assert running.returncode == 130
    assert home.processes() == []
    (batch,) = {path.name for path in batches.glob("*")} - known
    status = home.judge(str(scans))
    assert status["id"] == batch
    assert status["counts"]["succeeded"] == status["scans"] == 150
    scans_judged = [result["scan"] for result in home.results(batch)]
    assert len(set(scans_judged)) == len(scans_judged) == 150


def begun(batch: Path) -> bool:
    """Whether a worker has taken a shard of the batch."""
    return any(batch.glob("shards/*/attempt-1"))


def test_what_a_killed_command_had_started_is_gone_with_it(home: Home) -> None:
    running = home.start("process", str(EXAMPLES), "--new")
    assert wait_for(lambda: len(home.processes()) > 3, 60)
    running.kill()
    running.communicate(timeout=30)
    assert wait_for(lambda: home.processes() == [], 45)
    assert home.judge(str(EXAMPLES))["state"] == "completed"


def test_a_dry_run_tells_what_there_is_and_judges_nothing(home: Home, judged: dict[str, Any]) -> None:
    batches = len(json.loads(home.run("status", "--json").stdout))
    told = json.loads(home.run("process", str(EXAMPLES), "--dry-run", "--json", "--segment", "all").stdout)
    assert told["scans"] == {"picture": 10, "dicom": 1, "nifti": 1}
    assert told["left_out"] == {"not_a_scan": 2}
    assert told["files"] == sum(path.is_file() for path in EXAMPLES.rglob("*"))
    assert told["seconds"] > 0
    assert len(json.loads(home.run("status", "--json").stdout)) == batches


@contextmanager
def serving(home: Home) -> Iterator[str]:
    (port,) = free_ports(1)
    server = home.start("serve", "--port", str(port))
    url = f"http://127.0.0.1:{port}"
    try:
        assert wait_for(lambda: answers(f"{url}/readyz"), 60)
        yield url
    finally:
        server.send_signal(signal.SIGINT)
        server.communicate(timeout=60)
    assert server.returncode == 0
    assert home.processes() == []


def test_a_served_picture_gets_its_verdict_with_the_tumour_in_red(home: Home) -> None:
    with serving(home) as url, Client(url) as client:
        status = client.submit([EXAMPLES / "flair_glioma.png"], Options(queue="urgent"))
        assert wait_for(lambda: client.status(status.id).state in FINAL, 60)
        (result,) = client.results(status.id)
        assert result.finding is not None
        assert result.finding.label is Label.TUMOUR
        overlay = next(artifact for artifact in result.artifacts if artifact.name == "overlay.png")
        assert b"".join(client.artifact(status.id, result, overlay)).startswith(b"\x89PNG")
        page = httpx.get(url, follow_redirects=True)
        assert page.status_code == 200
        assert "not an approved medical device" in page.text


def test_a_restarted_server_goes_on_with_unfinished_batches(home: Home, tmp_path: Path) -> None:
    assert home.run("phantom", str(tmp_path / "more"), "--count", "60", "--seed", "5", "--jobs", "2").returncode == 0
    with serving(home) as url, Client(url) as client:
        batch = client.submit([tmp_path / "more"], Options()).id
    before = json.loads(home.run("status", batch, "--json").stdout)
    with serving(home) as url, Client(url) as client:
        assert wait_for(lambda: client.status(batch).state in FINAL, 120)
        status = client.status(batch)
    assert (status.state, status.counts.succeeded) == (BatchState.COMPLETED, 60)
    assert before["state"] in ("accepted", "running", "completed")


def test_two_commands_on_one_data_folder_share_its_broker(home: Home, tmp_path: Path) -> None:
    (tmp_path / "one.png").write_bytes((EXAMPLES / "flair_healthy.png").read_bytes())
    with serving(home):
        assert home.judge(str(tmp_path))["counts"]["no_tumour"] == 1
    refused = home.run("serve", "--host", "0.0.0.0")
    assert refused.returncode == 1
    assert "bind_without_token" in refused.stderr
