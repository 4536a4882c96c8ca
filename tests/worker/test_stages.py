"""The real flow, over real files: what comes out of the children is what the pipeline says, byte for byte."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import psutil
import pytest
from PIL import Image

from models.engines.timed import Timed
from neurobatch.codes import Code
from neurobatch.errors import ScanFailed
from neurobatch.records import FileRef, Label, ModelPin, Options, PlannedScan, Result, RootSource, ScanKind, ScanState
from neurobatch.settings import MIB, Settings
from neurobatch.version import VERSION
from pipeline import run
from pipeline.limits import Limits
from storage import names
from storage.names import BatchKey
from worker import stages
from worker.arena import MASK_STEPS
from worker.engines import EngineConfig
from worker.jobs import Job, Judged
from worker.messages import Network
from worker.sources import SourcesConfig
from worker.supervisor import Stages, Supervisor

EXAMPLES = Path(__file__).parents[2] / "examples"
KEY = BatchKey("local", names.new_batch_id())
SCANS: dict[str, ScanKind] = {
    "flair_glioma.png": ScanKind.PICTURE,
    "flair_healthy_16bit.png": ScanKind.PICTURE,
    "t1ce_meningioma.jpg": ScanKind.PICTURE,
    "t1_healthy.tif": ScanKind.PICTURE,
    "nifti_flair_healthy.nii.gz": ScanKind.NIFTI,
    "dicom_flair_glioma": ScanKind.DICOM,
}


def pin(name: str, profile: Literal["plain", "nlm-clahe"] = "plain") -> ModelPin:
    segments = name == "unet"
    return ModelPin(
        name=name,
        kind="segmenter" if segments else "classifier",
        sha256=name.encode().hex().ljust(64, "0")[:64],
        profile=profile,
        size=224,
        threshold=0.5,
        review_low=0.49,
        review_high=0.51,
        channels=("flair_abnormality", "tumour_core") if segments else (),
    )


def job(name: str, options: Options, *pins: ModelPin) -> Job:
    files = sorted((EXAMPLES / name).iterdir()) if SCANS[name] is ScanKind.DICOM else [EXAMPLES / name]
    refs = tuple(
        FileRef(
            source=3,
            path=str(file.relative_to(EXAMPLES)),
            size=file.stat().st_size,
            stamp=str(file.stat().st_mtime_ns),
        )
        for file in files
    )
    scan = PlannedScan(id=names.scan_id(7, 3, name, None, 0), kind=SCANS[name], path=name, files=refs, slices=1)
    networks = tuple(Network.of(each, Path("none"), None, "timed", "float32") for each in pins)
    sources = {3: RootSource(root="examples")}
    return Job(key=KEY, scan=scan, sources=sources, options=options, pins=pins, networks=networks)


@pytest.fixture(scope="module")
def supervisor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Supervisor]:
    home = tmp_path_factory.mktemp("home")
    settings = Settings(home=home, decoders=2, device_batch=4, arena=16 * MIB, roots={"examples": str(EXAMPLES)})
    names_of = Stages(context_settings=SourcesConfig.of(settings), load_settings=EngineConfig(cache=home / "engines"))
    with Supervisor(settings, names_of) as started:
        yield started


def by_hand(asked: Job) -> tuple[Result, dict[str, bytes]]:
    """The same scan, straight through the pipeline in this process."""
    engine = Timed(seconds=0.0)
    files = [(EXAMPLES / ref.path).read_bytes() for ref in asked.scan.files]
    setting = run.Setting(
        pins=asked.pins,
        options=asked.options,
        engine=engine.name,
        precision=engine.precision,
        processor=engine.processor,
        software=VERSION,
    )
    volume = run.decode(asked.scan.kind, files, Limits())
    shown = run.look(volume)

    def outputs(which: ModelPin) -> Any:
        prepared = np.stack([square for _, square in run.squares(volume, shown, which)])
        return engine.load(which.name, Path("none"), 4).predict(prepared)

    judged = run.judge(volume, shown, {each.name: outputs(each) for each in setting.classifiers}, setting)
    maps = None
    if judged.wants_mask and setting.segmenter is not None:
        steps = np.rint(outputs(setting.segmenter) * MASK_STEPS) / np.float32(MASK_STEPS)
        maps = zip(shown, steps.astype(np.float32), strict=True)
    conclusion = run.conclude(asked.scan, volume, judged, maps, setting)
    return run.succeeded(asked.scan, conclusion, setting), dict(conclusion.files)


@pytest.mark.parametrize("segment", ["positive", "all", "none"])
def test_the_children_give_what_the_pipeline_says(supervisor: Supervisor, segment: Any) -> None:
    pins = [pin("mobilenet"), pin("resnet50v2", "nlm-clahe"), *([] if segment == "none" else [pin("unet")])]
    jobs = [job(name, Options(classifier="both", segment=segment), *pins) for name in SCANS]
    tickets = [supervisor.judge(each) for each in jobs]
    seen = set()
    for asked, ticket in zip(jobs, tickets, strict=True):
        said: Judged = ticket.future.result(240).value
        ticket.put_away()
        result, files = by_hand(asked)
        assert said.result == result
        assert {name: content.data for name, content in said.files.items()} == files
        assert said.result.state is ScanState.SUCCEEDED
        seen |= set(said.files)
    assert "report.json" in seen
    assert ("mask.png" in seen) == (segment != "none")


def test_a_blank_scan_is_judged_without_any_network(tmp_path: Path) -> None:
    Image.new("L", (64, 64), 7).save(tmp_path / "blank.png")
    settings = Settings(home=tmp_path / "home", roots={"blank": str(tmp_path)})
    file = tmp_path / "blank.png"
    ref = FileRef(source=0, path=file.name, size=file.stat().st_size, stamp=str(file.stat().st_mtime_ns))
    example = job("flair_glioma.png", Options(segment="all"), pin("mobilenet"), pin("unet"))
    scan = example.scan.model_copy(update={"files": (ref,)})
    asked = replace(example, scan=scan, sources={0: RootSource(root="blank")})
    with pytest.raises(StopIteration) as end:
        next(stages.flow(stages.context(SourcesConfig.of(settings)), asked))
    result = end.value.value.value.result
    assert result.engine == stages.NO_ENGINE
    assert result.finding.label is Label.NEEDS_REVIEW
    assert result.finding.reasons == (Code.BLANK,)


def test_a_file_that_changed_since_it_was_planned_fails_its_scan(supervisor: Supervisor) -> None:
    example = job("dicom_flair_glioma", Options(segment="none"), pin("mobilenet"))
    changed = example.scan.files[4].model_copy(update={"stamp": "1"})
    files = (*example.scan.files[:4], changed, *example.scan.files[5:])
    asked = replace(example, scan=example.scan.model_copy(update={"files": files}))
    error = supervisor.judge(asked).future.exception(240)
    assert isinstance(error, ScanFailed)
    assert error.code is Code.SOURCE_CHANGED


def test_memory_stays_flat_over_hundreds_of_scans(supervisor: Supervisor) -> None:
    asked = job("flair_glioma.png", Options(segment="all"), pin("mobilenet"), pin("unet"))

    def used(scans: int) -> dict[int, int]:
        for ticket in [supervisor.judge(asked) for _ in range(scans)]:
            ticket.future.result(240)
            ticket.put_away()
        decoders, network = supervisor.pids()
        return {pid: _own(pid) for pid in (os.getpid(), *decoders, network) if pid is not None}

    before, after = used(100), used(200)
    assert set(before) == set(after), "a process was replaced"
    grown = {pid: after[pid] - before[pid] for pid in before}
    assert max(grown.values()) < 16 * MIB, grown


def _own(pid: int) -> int:
    told = psutil.Process(pid).memory_info()
    return int(told.rss) - int(told.shared)
