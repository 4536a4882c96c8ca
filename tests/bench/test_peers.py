"""A peer does the same work as neurobatch, and one that cannot run here is told, not made up."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from bench.agreeing import Said, agreeing
from bench.asking import QUIET, Program
from bench.denoising import slices
from bench.peers import asked as asking
from bench.peers.asked import Asked
from bench.peers.by_hand import concluded, prepared, verdict, wants_mask
from bench.peers.setting_up import environment, interpreter, is_ready
from bench.scans import SIDE, pictures
from models.registry import Network, networks
from neurobatch.errors import Broken
from pipeline.prepare.profiles import prepare

ASKED = Asked(classifiers=("mobilenet",), segment="positive")


def known(monkeypatch: pytest.MonkeyPatch, *names: str, **changed: float | None) -> Asked:
    """Classifiers of these names, with a threshold of one half, no band and no check but for what is changed."""
    fields = {"threshold": 0.5, "review_low": 0.5, "review_high": 0.5, "temperature": 1.0, "oddness": None}
    table: dict[str, Network] = {
        name: dataclasses.replace(networks()["mobilenet"], name=name, **{**fields, **changed})  # type: ignore[arg-type]
        for name in names
    }
    monkeypatch.setattr(asking, "networks", lambda: table)
    return Asked(classifiers=names, segment="positive")


def logit(probability: float) -> list[float]:
    return [float(np.log(probability / (1 - probability))), 0.0]


def test_what_is_asked_survives_the_way_to_another_process() -> None:
    assert Asked.read(ASKED.written) == ASKED


@pytest.mark.parametrize(("said", "expected"), [(0.9, "tumour"), (0.1, "no_tumour"), (0.501, "tumour")])
def test_peers_judge_as_neurobatch_does(said: float, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert verdict(known(monkeypatch, "one"), {"one": logit(said)}).finding == expected


def test_peers_ask_for_review_within_the_band_and_where_classifiers_disagree(monkeypatch: pytest.MonkeyPatch) -> None:
    banded = known(monkeypatch, "one", review_low=0.4, review_high=0.6)
    assert verdict(banded, {"one": logit(0.45)}).finding == "needs_review"
    two = known(monkeypatch, "one", "two")
    assert verdict(two, {"one": logit(0.9), "two": logit(0.2)}).finding == "needs_review"


def test_peers_ask_for_review_of_an_odd_picture() -> None:
    check = networks()["mobilenet"].oddness
    assert check is not None
    assert verdict(ASKED, {"mobilenet": [9.0, check.threshold]}).finding == "needs_review"
    assert verdict(ASKED, {"mobilenet": [9.0, 0.0]}).finding == "tumour"


def test_peers_let_a_large_mask_contradict_no_tumour(monkeypatch: pytest.MonkeyPatch) -> None:
    found = verdict(known(monkeypatch, "one"), {"one": logit(0.1)})
    assert not wants_mask(ASKED, found)
    assert concluded(found, np.zeros((64, 64), bool)).finding == "no_tumour"
    assert concluded(found, np.ones((64, 64), bool)).finding == "needs_review"


@pytest.mark.parametrize("profile", ["plain", "nlm-clahe"])
@pytest.mark.parametrize("colours", [1, 3])
def test_peers_prepare_as_neurobatch_does(profile: str, colours: int) -> None:
    grey, colour = slices(SIDE)  # of what is mostly handed in, larger than the networks' square
    plane = grey if colours == 1 else colour
    picture = plane if plane.ndim == 3 else np.dstack([plane] * 3)
    assert np.array_equal(prepared(picture, profile, ASKED), prepare(plane, profile, 224))


SAID = Said(finding="tumour", probability=0.9, mask_pixels=1000)


@pytest.mark.parametrize(
    ("other", "agrees"),
    [
        (Said(finding="tumour", probability=0.91, mask_pixels=1010), True),
        (Said(finding="needs_review", probability=0.9, mask_pixels=1000), False),
        (Said(finding="tumour", probability=0.8, mask_pixels=1000), False),
        (Said(finding="tumour", probability=0.9, mask_pixels=900), False),
        (Said(finding="tumour", probability=0.9, mask_pixels=None), False),
    ],
)
def test_a_scan_agrees_in_finding_probability_and_mask(other: Said, agrees: bool) -> None:
    assert SAID.agrees(other, "float32") is agrees
    assert other.agrees(SAID, "float32") is agrees
    assert SAID.agrees(other, "bfloat16") or not agrees, "it may differ by more, never by less"


def test_a_peer_that_finds_something_else_is_none() -> None:
    ours = {f"scan-{number}": SAID for number in range(20)}
    same = {name: vars(SAID) for name in ours}
    assert agreeing("peer", ours, same, "float32") == 20
    assert agreeing("peer", ours, {**same, "scan-3": {**vars(SAID), "probability": 0.5}}, "float32") == 19
    with pytest.raises(Broken, match="no peer"):
        agreeing("peer", ours, {name: {**vars(SAID), "mask_pixels": None} for name in ours}, "float32")
    with pytest.raises(Broken, match="19 scans"):
        agreeing("peer", ours, dict(list(same.items())[:19]), "float32")


def test_an_environment_that_cannot_be_made_says_why(tmp_path: Path) -> None:
    wanted = tmp_path / "peers.txt"
    wanted.write_text(f"no-such-peer==1.0 --hash=sha256:{'0' * 64}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIP_NO_INDEX", "1")
        with pytest.raises(Broken, match="no-such-peer"):
            interpreter(tmp_path / "made", wanted)
    assert not is_ready(tmp_path / "made")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_ray_judges_every_picture(tmp_path: Path) -> None:
    if not is_ready(environment()):
        pytest.skip("Ray is not installed: `bench throughput` makes its environment")
    scans = pictures(tmp_path / "scans", 4, side=64)
    with Program([str(interpreter()), "-m", "bench.peers.ray_data", ASKED.written], QUIET) as peer:
        said = peer.ask(scans=[str(scan) for scan in scans], to=str(tmp_path))
    assert set(said["found"]) == {scan.name for scan in scans}
    assert said["seconds"] > 0
    assert all((tmp_path / f"{scan.name}_report.json").exists() for scan in scans)
