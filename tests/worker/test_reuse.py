"""A scan that came before costs no network, and its result is that of an undisturbed run, byte for byte."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurobatch.codes import Code
from neurobatch.records import ContentLine, OddnessPin, Options, ScanKind
from neurobatch.settings import Settings
from pipeline.geometry import Geometry, Layout, Space
from pipeline.volumes import Volume
from storage import names
from storage.ledger import ResultFiles
from storage.names import BatchKey
from tests.worker.test_stages import EXAMPLES, SCANS, job, pin
from worker import stages
from worker.jobs import Job, Judged
from worker.messages import Claim, Feed, Ran, Verdict
from worker.reuse import content_of, key_of
from worker.sources import SourcesConfig

RAN = Ran(engine="test", precision="float32", processor="none")
PINS = (pin("mobilenet"), pin("resnet50v2", "nlm-clahe"), pin("unet"))
EVERYTHING = Options(classifier="both", segment="all")
ASIDE = 0.5  # of 1: what the masks of these tests say at their brightest


@dataclass(frozen=True)
class Bench:
    """A store, and the real flow over it in this process; what networks say is made up from what they see."""

    context: stages.Context

    @classmethod
    def of(cls, folder: Path) -> "Bench":
        settings = Settings(home=folder, roots={"examples": str(EXAMPLES)})
        return cls(stages.context(SourcesConfig.of(settings)))

    def judge(self, asked: Job) -> tuple[Judged, int]:
        """What a scan comes to, and how many slices the networks saw for it. Its files are put."""
        flow, seen = stages.flow(self.context, asked), 0
        told: Any = None
        try:
            while True:
                step = flow.send(told)
                if isinstance(step, Claim):
                    told = False
                    continue
                seen += step.count * len(step.networks)
                told = tuple(_said(step, index) for index in range(len(step.networks)))
        except StopIteration as end:
            judged: Judged = end.value.value
        assert judged.line is not None
        files = ResultFiles(asked.key, judged.result.scan, judged.files, judged.line.kept)
        self.context.ledger.put_results_files([files])
        return judged, seen


def _said(feed: Feed, index: int) -> Verdict:
    network = feed.networks[index]
    squares = np.stack([feed.prepare(at) for at in range(feed.count)])
    if network.segments:
        values: Any = (squares[..., :2] * ASIDE).astype(np.uint8)
    else:
        values = squares.mean((1, 2, 3), dtype=np.float64).astype(np.float32)[:, None] / 50 - index
    return Verdict(network=network, ran=RAN, values=values)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench.of(tmp_path)


def asked(name: str, options: Options = EVERYTHING, *, reuse: bool = True) -> Job:
    made = job(name, options, *PINS)
    networks = tuple(replace(network, engine="test") for network in made.networks)
    return replace(made, networks=networks, reuse=reuse)


def sent_again(first: Job, *, tenant: str = "local") -> Job:
    """The same files in another batch, under another name and as another patient's."""
    scan = first.scan.model_copy(
        update={
            "id": names.scan_id(1234, 3, "elsewhere", "2.25.9", 0),
            "path": "elsewhere/Doe^Jane.bin",
            "study_uid": "2.25.8",
            "series_uid": "2.25.9",
        }
    )
    return replace(first, key=BatchKey(tenant, names.new_batch_id()), scan=scan)


# -- taking over ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCANS)
@pytest.mark.parametrize("segment", ["all", "none"])
def test_a_scan_sent_again_asks_no_network_and_has_the_bytes_of_an_undisturbed_run(
    bench: Bench, name: str, segment: Any
) -> None:
    first = asked(name, EVERYTHING.model_copy(update={"segment": segment}))
    again = sent_again(first)
    _, slices = bench.judge(first)
    taken, none = bench.judge(again)
    alone, _ = bench.judge(replace(again, reuse=False))
    assert slices > 0
    assert none == 0
    assert taken.result.dump() == alone.result.dump()
    assert taken.files == alone.files
    assert alone.line is not None
    assert taken.line == ContentLine(scan=again.scan.id, content=alone.line.content, reused=True)


def test_nothing_of_the_first_patient_is_in_what_the_second_gets(bench: Bench) -> None:
    first = asked("dicom_flair_glioma")
    first = replace(first, scan=first.scan.model_copy(update={"path": "Roe^John", "series_uid": "2.25.77"}))
    bench.judge(first)
    taken, slices = bench.judge(sent_again(first))
    assert slices == 0
    for content in (taken.result.dump(), *(file.data for file in taken.files.values())):
        assert b"Roe" not in content
        assert b"2.25.77" not in content
        assert first.scan.id.encode() not in content


def test_two_tenants_never_share(bench: Bench) -> None:
    first = asked("flair_glioma.png")
    bench.judge(first)
    _, slices = bench.judge(sent_again(first, tenant="another"))
    assert slices > 0


def test_a_scan_that_another_try_of_its_own_finished_is_not_counted_as_taken_over(bench: Bench) -> None:
    first = asked("flair_glioma.png")
    before, _ = bench.judge(first)
    after, slices = bench.judge(first)
    assert slices == 0
    assert after == before


def test_with_the_setting_off_nothing_is_taken_over_and_nothing_kept(bench: Bench) -> None:
    first = asked("flair_glioma.png", reuse=False)
    judged, _ = bench.judge(first)
    assert judged.line is not None
    assert judged.line.kept is None
    assert list(bench.context.ledger.objects.list("reuse/")) == []
    bench.judge(asked("flair_glioma.png"))
    _, slices = bench.judge(sent_again(first))
    assert slices > 0


def test_what_was_not_put_whole_is_judged_anew(bench: Bench) -> None:
    first = asked("flair_glioma.png")
    bench.judge(first)
    objects = bench.context.ledger.objects
    objects.delete([stored.name for stored in objects.list("tenants/") if stored.name.endswith("mask.png")])
    _, slices = bench.judge(sent_again(first))
    assert slices > 0


# -- when two scans are the same -----------------------------------------------------------------------------------


def volume(**changes: Any) -> Volume:
    space = Space(shape=(4, 3, 2), affine=None, layout=Layout(axes=(2, 1, 0), flips=(False, False, False)))
    geometry = Geometry(shape=(2, 3, 4), pixel_mm=(1.0, 1.0), slice_mm=2.0, slicing="axial", space=space)
    planes = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    told: dict[str, Any] = {"kind": ScanKind.NIFTI, "planes": planes, "geometry": geometry}
    return Volume(**{**told, **changes})


def _geometries() -> list[Geometry]:
    whole = volume().geometry
    space = whole.space
    assert space is not None
    affine = ((1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0))
    spaces = [
        None,
        replace(space, affine=affine),
        replace(space, header=b"\x5c\x01"),
        replace(space, layout=replace(space.layout, flips=(True, False, False))),
    ]
    return [
        replace(whole, pixel_mm=(1.0, 1.0000001)),
        replace(whole, slice_mm=None),
        replace(whole, slicing="coronal"),
        *(replace(whole, space=each) for each in spaces),
    ]


def test_scans_that_differ_in_anything_but_whose_they_are_differ() -> None:
    pixels = volume().planes.copy()
    pixels[1, 2, 3] ^= 1
    others = [
        volume(planes=pixels),
        volume(planes=volume().planes.reshape(2, 4, 3)),
        volume(kind=ScanKind.DICOM),
        volume(warnings=(Code.PHANTOM,)),
        *(volume(geometry=geometry) for geometry in _geometries()),
    ]
    contents = {content_of(each) for each in (volume(), *others)}
    assert len(contents) == 1 + len(others)
    assert content_of(volume(study_uid="2.25.1", series_uid="2.25.2")) == content_of(volume())


@given(one=st.binary(min_size=12, max_size=12), other=st.binary(min_size=12, max_size=12))
def test_two_scans_are_the_same_exactly_if_their_pixels_are(one: bytes, other: bytes) -> None:
    told = [content_of(volume(planes=np.frombuffer(each, np.uint8).reshape(1, 3, 4))) for each in (one, other)]
    assert (told[0] == told[1]) == (one == other)


def _changed() -> Mapping[str, Job]:
    made = asked("flair_glioma.png")
    first, *rest = made.pins

    def pinned(**change: Any) -> Job:
        return replace(made, pins=(first.model_copy(update=change), *rest))

    def opted(**change: Any) -> Job:
        return replace(made, options=made.options.model_copy(update=change))

    return {
        "weights": pinned(sha256="0" * 64),
        "calibration": pinned(temperature=1.25),
        "threshold": pinned(threshold=0.51),
        "whose threshold": pinned(threshold_of="site"),
        "band": pinned(review_high=0.6),
        "profile": pinned(profile="nlm-clahe"),
        "check of odd slices": pinned(oddness=OddnessPin(sha256="0" * 64, threshold=1.0)),
        "fewer networks": replace(made, pins=made.pins[:2], networks=made.networks[:2]),
        "segmenting": opted(segment="positive"),
        "forced threshold": opted(threshold=0.5),
        "engine": replace(made, networks=tuple(replace(each, engine="openvino") for each in made.networks)),
        "precision": replace(made, networks=tuple(replace(each, precision="bfloat16") for each in made.networks)),
    }


def test_whatever_can_change_a_result_changes_its_key() -> None:
    content = "ab" * 32
    jobs = _changed()
    keys = [key_of(each, content) for each in jobs.values()]
    keys += [key_of(asked("flair_glioma.png"), content), key_of(asked("flair_glioma.png"), "cd" * 32)]
    assert None not in keys
    assert len(set(keys)) == len(jobs) + 2


@pytest.mark.parametrize("change", [{"queue": "bulk"}, {"slices_per_shard": 7}, {"series": "folder"}])
def test_how_the_work_is_planned_does_not_change_the_key(change: dict[str, Any]) -> None:
    made = asked("flair_glioma.png")
    other = sent_again(replace(made, options=made.options.model_copy(update=change)))
    assert key_of(other, "ab" * 32) == key_of(made, "ab" * 32)


def test_another_version_of_the_program_takes_nothing_over(monkeypatch: pytest.MonkeyPatch) -> None:
    made = asked("flair_glioma.png")
    before = key_of(made, "ab" * 32)
    monkeypatch.setattr("worker.reuse._program", lambda: "another")
    assert key_of(made, "ab" * 32) != before


def test_what_no_network_said_is_nobodys_result() -> None:
    made = asked("flair_glioma.png")
    waits = tuple(replace(network, engine="timed") for network in made.networks)
    assert key_of(replace(made, networks=waits), "ab" * 32) is None
