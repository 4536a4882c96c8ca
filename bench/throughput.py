"""`bench throughput`: from HTTP upload to the last result in the store, against what one would write instead."""

from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

from bench.asking import Program
from bench.ratios import alternate
from bench.report import Report, Row
from bench.served import Handled, served
from bench.task import Measurement, Place, Task, files_of, place_for
from neurobatch.records import Options, ScanState
from pipeline.prepare.denoise import SEARCH
from worker.planning import pins

OURS, LOOP, ORIGINAL = "neurobatch", "loop, Keras predict", "the same, denoised as the originals do"
WIDE = 21  # px: OpenCV's own default of the denoiser's search window, which the original system took
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"}


def throughput(task: Task) -> Report:
    """Hand the same scans to neurobatch and to the peers, in turn."""
    begun = Measurement()
    with place_for(task) as place, ExitStack() as held:
        ours = held.enter_context(served(place.folder / "home"))
        ours.judge([place.warm], task.options)
        peers = {name: held.enter_context(_peer(task.options, search)) for name, search in searches(task.options)}
        handled: list[Handled] = []
        findings: dict[str, str] = {}

        def judged_by_us(number: int) -> float:
            handled.append(ours.judge([place.rounds[number]], task.options))
            return task.scans / handled[-1].seconds

        def judged_by(name: str, number: int) -> float:
            said = looped(peers[name], place, place.rounds[number])
            if name == LOOP:
                findings.update({f"{number}/{scan}": label for scan, label in said["findings"].items()})
            return task.scans / float(said["seconds"])

        for peer in peers.values():
            looped(peer, place, place.warm)
        loops = {name: partial(judged_by, name) for name in peers}
        rates = alternate({OURS: judged_by_us, **loops}, task.rounds)
    return begun.report(
        name=task.named("throughput"),
        title="Throughput: HTTP upload to the last result in the store, against a loop over the files",
        ratio="× the loop",
        sizes=task.sizes,
        rows=tuple(Row.of(name, "scans/s", values, rates[LOOP]) for name, values in rates.items()),
        notes=_notes(handled, findings),
        rounds=task.rounds,
    )


def searches(options: Options) -> list[tuple[str, int]]:
    """The loops to run: each by name, with the denoiser's window (px)."""
    denoised = any(pin.profile == "nlm-clahe" for pin in pins(options))
    return [(LOOP, SEARCH), (ORIGINAL, WIDE)] if denoised else [(LOOP, SEARCH)]


def looped(peer: Program, place: Place, scans: Path) -> dict[str, Any]:
    """Have a peer judge a folder of scans."""
    out = place.folder / "peer" / scans.name
    out.mkdir(parents=True, exist_ok=True)
    said: dict[str, Any] = peer.ask(scans=[str(path) for path in files_of(scans)], to=str(out))
    return said


def _peer(options: Options, search: int) -> Program:
    classifiers = [pin.name for pin in pins(options) if pin.kind == "classifier"]
    return Program.module("bench.peers.loop", ",".join(classifiers), options.segment, str(search), env=QUIET)


def _notes(handled: list[Handled], findings: Mapping[str, str]) -> tuple[str, ...]:
    ours = {
        f"{number}/{Path(result.path).name}": result.finding.label.value
        for number, batch in enumerate(handled)
        for result in batch.results
        if result.state is ScanState.SUCCEEDED and result.finding is not None
    }
    same = sum(ours.get(scan) == label for scan, label in findings.items())
    used = sorted({(result.engine, result.precision) for batch in handled for result in batch.results})
    uploading = fmean(each.accepted / each.seconds for each in handled)
    engines = ", ".join(f"{engine} {precision}" for engine, precision in used)
    return (
        f"neurobatch ran on {engines}; it and the loop found the same in {same} of {len(findings)} scans.",
        f"Uploading took {uploading:.0%} of neurobatch's time.",
    )
