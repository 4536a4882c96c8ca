"""`bench series`: one long DICOM series from its files to the mask in its own geometry, ready to become a DICOM SEG."""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from bench.asking import Program
from bench.carrying import client, hand_over
from bench.limit import bare_kernels
from bench.ratios import alternate
from bench.report import Report, Row
from bench.scans import SIDE, dicom_series
from bench.served import Served, served
from bench.task import Measurement
from neurobatch.codes import Code
from neurobatch.errors import Broken
from neurobatch.records import Options
from worker.cores import usable_cores

OURS, BARE = "neurobatch", "bare kernels"
WARM_SLICES = 32
MASK = "mask.nii.gz"


def series(slices: int, rounds: int, options: Options) -> Report:
    """Hand over a series by reference, another one each round, and give the same slices to the bare kernels.

    Args:
        slices: of a series, of 256 × 256 px, 1 mm apart.
        rounds: how often.
        options: which classifier, in which precision; every slice that shows something is segmented.
    """
    begun = Measurement()
    options = options.model_copy(update={"segment": "all"})
    with TemporaryDirectory(prefix="neurobatch-bench-") as name, ExitStack() as held:
        place = Path(name)
        roots = {"warm": place / "warm"} | {f"round-{number}": place / f"round-{number}" for number in range(rounds)}
        dicom_series([(root, WARM_SLICES if folder == "warm" else slices) for folder, root in roots.items()])
        ours = held.enter_context(served(place / "home", roots=roots))
        bare = [held.enter_context(bare_kernels(options, ours)) for _ in range(usable_cores())]
        by_us(ours, "warm", WARM_SLICES, options)
        by_kernels(bare, roots["warm"])
        contestants = {
            OURS: lambda number: 1000 * by_us(ours, f"round-{number}", slices, options),
            BARE: lambda number: 1000 * by_kernels(bare, roots[f"round-{number}"]),
        }
        found = alternate(contestants, rounds)
    return begun.report(
        name="series",
        title=f"Series: {slices} DICOM files of {SIDE} × {SIDE} px, from the request to the mask in their geometry",
        ratio="of the limit",
        sizes={"slices": slices, "rounds": rounds, "classifier": options.classifier, "precision": options.precision},
        rows=tuple(Row.of(name, "ms", values, found[BARE]) for name, values in found.items()),
        notes=_notes(slices, found[OURS]),
        rounds=rounds,
    )


def by_us(ours: Served, root: str, slices: int, options: Options) -> float:
    """Seconds from the request until the mask lies in the store.

    Raises:
        Broken: what came of it is not one scan with a mask.
    """
    with client(ours) as http:
        begun = time.monotonic()
        key = hand_over(http, ours, root, options)
        ours.end(key)
        seconds = time.monotonic() - begun
    results = tuple(ours.results(key))
    drawn = [one for one in results if one.slices == slices and MASK in {artifact.name for artifact in one.artifacts}]
    if len(results) != 1 or not drawn:
        raise Broken(Code.INTERNAL, f"A series of {slices} slices did not become one scan with a mask.")
    return seconds


def by_kernels(bare: Sequence[Program], root: Path) -> float:
    """Share a series' files among the processes; seconds from the first that began to the last that ended."""
    files = sorted(str(path) for path in root.rglob("*.dcm"))
    share = -(-len(files) // len(bare))
    for index, process in enumerate(bare):
        process.tell(series=files[index * share : (index + 1) * share])
    said = [process.hear() for process in bare]
    return float(max(one["ended"] for one in said) - min(one["begun"] for one in said))


def _notes(slices: int, ours: Sequence[float]) -> tuple[str, ...]:
    return (
        "The series is read in place; every slice with content is judged and segmented; the result lies in the store.",
        f"neurobatch takes {median(ours) / slices:.1f} ms a slice, mask file, overlay and report included.",
        f"Bare kernels: {usable_cores()} processes with a thread each read, prepare, classify and segment a share.",
        "They bring the masks back onto the slices' grid, and have no queue, store, compression, overlay, report.",
    )
