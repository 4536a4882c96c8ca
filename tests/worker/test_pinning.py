"""A batch is pinned, when its planning starts, to networks, their weights and a precision."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from models import registry
from models.engines.choice import precision_of
from models.registry import Check, Network
from neurobatch.codes import Code
from neurobatch.errors import Broken
from neurobatch.records import Options
from storage import names
from tests.worker.planned import Bench
from worker.planning import pins


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def network(name: str, kind: Any = "classifier") -> Network:
    return Network(
        name=name, kind=kind, file=f"{name}.bin", sha256=hashlib.sha256(name.encode()).hexdigest(), bytes=1,
        profile="plain", size=224, temperature=1.5, threshold=0.4, review_low=0.3, review_high=0.6, channels=(),
        licence="none", oddness=CHECK if name == "mobilenet" else None,
    )  # fmt: skip


CHECK = Check(file="check.bin", sha256=hashlib.sha256(b"check").hexdigest(), bytes=1, threshold=2.0)


@pytest.fixture
def shipped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    table = {net.name: net for net in (network("mobilenet"), network("resnet50v2"), network("unet", "segmenter"))}
    monkeypatch.setattr(registry, "networks", lambda: table)

    def weights(name: str) -> Path:
        file = tmp_path / name
        file.write_bytes(name.encode())
        return file

    def check(name: str) -> Path | None:
        return weights("check") if table[name].oddness else None

    monkeypatch.setattr(registry, "open_weights", weights)
    monkeypatch.setattr(registry, "open_check", check)


def pinned(**options: Any) -> list[str]:
    return [pin.name for pin in pins(Options(**options))]


@pytest.mark.usefixtures("shipped")
def test_a_batch_is_pinned_to_the_networks_that_its_options_ask_for() -> None:
    assert pinned() == ["mobilenet", "unet"]
    assert pinned(classifier="both", segment="all") == ["mobilenet", "resnet50v2", "unet"]
    assert pinned(classifier="resnet50v2", segment="none") == ["resnet50v2"]
    forced = pins(Options(profile="nlm-clahe", threshold=0.95))
    assert [(pin.profile, pin.forced) for pin in forced] == [("nlm-clahe", True)] * 2
    assert [pin.threshold for pin in forced] == [0.95, 0.4]
    assert forced[0].oddness is None, "its check knows pictures of its own profile only"
    assert [forced[0].review_low, forced[0].review_high] == pytest.approx([0.85, 1.0])


@pytest.mark.usefixtures("shipped")
def test_planning_keeps_the_weights_that_a_batch_is_pinned_to(bench: Bench) -> None:
    key = bench.accept()
    bench.ledger.objects.delete([names.plan_start(key)])
    bench.plan(key)
    start = bench.ledger.plan_start(key)
    assert start is not None
    for pin in start.models:
        assert b"".join(bench.ledger.read_model(pin.sha256)) == pin.name.encode()
    assert start.models[0].oddness is not None
    assert b"".join(bench.ledger.read_model(start.models[0].oddness.sha256)) == b"check"


@pytest.mark.usefixtures("shipped")
@pytest.mark.parametrize(
    ("asked", "site", "pinned"),
    [
        ("auto", "auto", precision_of("auto", "auto", "openvino")),
        ("auto", "float32", "float32"),
        ("auto", "bfloat16", "bfloat16"),
        ("float32", "bfloat16", "float32"),
        ("bfloat16", "float32", "bfloat16"),
    ],
)
def test_the_precision_of_a_batch_is_its_own_or_the_sites(bench: Bench, asked: str, site: str, pinned: str) -> None:
    key = bench.accept(precision=asked)
    bench.ledger.objects.delete([names.plan_start(key)])
    bench.plan(key, precision=site)
    start = bench.ledger.plan_start(key)
    assert start is not None
    assert start.precision == pinned


def test_a_network_that_is_not_shipped_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "networks", dict)
    with pytest.raises(Broken) as broken:
        pins(Options())
    assert broken.value.code is Code.WEIGHTS_DAMAGED
