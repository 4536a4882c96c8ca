"""`neurobatch recover` and `neurobatch worker`, as a user calls them."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from neurobatch.errors import Broken
from storage.broker import connect
from tests.pipeline.inputs import picture, ramp
from tests.worker.planned import Bench
from worker.commands import recover, worker

PNG = picture(ramp().astype(np.uint8))


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    bench = Bench(tmp_path)
    monkeypatch.setenv("NEUROBATCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NEUROBATCH_STORE", bench.config.store)
    monkeypatch.delenv("NEUROBATCH_BROKER", raising=False)
    return bench


def asked(*arguments: str) -> Result:
    return CliRunner().invoke(recover, list(arguments), standalone_mode=False, catch_exceptions=False)


def test_recover_tells_what_it_rang(bench: Bench, valkey_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEUROBATCH_BROKER", valkey_url)
    bench.write("a.png", PNG)
    fresh, planned = bench.accept(), bench.accept(queue="urgent")
    bench.plan(planned)
    told = json.loads(asked("--json").output)
    assert told == {
        "open": 2,
        "rung": [
            {"task": "plan", "batch": fresh.batch, "number": 0},
            {"task": "shard", "batch": planned.batch, "number": 0},
        ],
        "recounted": 2,
        "broken": [],
    }
    assert connect(valkey_url).llen("urgent") == 1
    again = asked().output
    assert again == "2 open batches; 0 bells rung; 0 counted anew\n"


@pytest.mark.parametrize("command", [recover, worker])
def test_without_a_broker_it_says_what_is_missing(bench: Bench, command: object) -> None:
    with pytest.raises(Broken, match="NEUROBATCH_BROKER is not set"):
        CliRunner().invoke(command, [], standalone_mode=False, catch_exceptions=False)  # type: ignore[arg-type]
