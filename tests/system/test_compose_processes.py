"""The processes of docker-compose.yml, with its commands and settings, judge a batch that comes over HTTP."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from tests.system.compose import ENV, ROOT, TOKEN, Machine, interpolate

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


def neurobatch(machine: Machine, *words: str) -> subprocess.CompletedProcess[str]:
    """The command on a user's machine, which knows the server's address and a token and nothing else."""
    command = [str(Path(sys.executable).parent / "neurobatch"), *words, "--url", machine.url, "--token", TOKEN]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)


def test_without_the_token_nothing_is_told(machine: Machine) -> None:
    answer = httpx.get(f"{machine.url}/v1/batches", timeout=10)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorised")


def test_a_batch_that_is_handed_over_is_judged(machine: Machine) -> None:
    done = neurobatch(machine, "submit", str(ROOT / "examples"), "--wait", "--json")
    assert done.returncode == 0, done.stderr
    status = json.loads(done.stdout)
    assert status["state"] == "completed"
    assert status["counts"]["succeeded"] == status["scans"] > 5
    listed = neurobatch(machine, "results", status["id"], "--json")
    assert len(listed.stdout.splitlines()) == status["scans"]


def test_the_store_is_the_one_of_the_file_and_its_keys_are_asked_for(machine: Machine) -> None:
    s3 = f"http://127.0.0.1:{machine.places['seaweedfs:8333']}"
    assert httpx.get(f"{s3}/neurobatch?list-type=2", timeout=10).status_code == 403
    assert list((machine.folder / "home-api").rglob("batch.json")) == []


def test_redis_asks_for_its_password(machine: Machine) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        subprocess.run(
            ["redis-cli", "-e", "-p", str(machine.places["redis:6379"]), "ping"],
            check=True, capture_output=True, timeout=10,
        )  # fmt: skip


def test_a_worker_ends_within_its_grace_period(machine: Machine) -> None:
    grace = float(machine.services["worker"]["stop_grace_period"].removesuffix("s"))
    started = time.monotonic()
    worker = machine.workers[0]
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(grace) == 0
    assert time.monotonic() - started < grace
    machine.restart_worker(0)


def test_variables_are_filled_in_as_docker_compose_does() -> None:
    node = {"a": ["${NEUROBATCH_TOKENS:?say}", "${X:-default}", "$$BUCKET"], "b": 1}
    assert interpolate(node, ENV) == {"a": [ENV["NEUROBATCH_TOKENS"], "default", "$BUCKET"], "b": 1}
    with pytest.raises(KeyError, match="S3_SECRET_KEY: set it"):
        interpolate("${S3_SECRET_KEY:?set it}", {})
