"""What makes two scans the same to neurobatch, and how the result of one becomes the other's.

The key of a result is a digest of all that its bytes depend on: decoded pixels and geometry, networks with weights,
calibration, thresholds and rules, options, engine, class of processor, and the program that makes results. So a key
that is found needs no network, no denoising and no drawing; only where the scan came from is written anew.
"""

import functools
import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, cast

from models.engines.processor import processor_class
from models.engines.seam import Precision
from neurobatch.records import ModelPin, Options, Result
from neurobatch.version import VERSION
from pipeline import run
from pipeline.limits import Limits
from pipeline.report import Report
from pipeline.volumes import Volume
from storage.ledger import ResultFiles
from worker.jobs import Job
from worker.messages import Network

PLANNING = frozenset({"queue", "series", "slices_per_shard", "precision"})  # planned with, or told by the networks
MAKERS = ("models", "pipeline", "worker")  # the rooms whose program makes results
UNMADE = "timed"  # engine that waits instead: what it says is nobody's result


def content_of(volume: Volume) -> str:
    """Hex SHA-256 over a scan as it was read: planes, geometry, warnings; not whose scan it is."""
    told = {
        "kind": volume.kind,
        "shape": volume.planes.shape,
        "geometry": asdict(volume.geometry),
        "warnings": volume.warnings,
    }
    digest = hashlib.sha256(_canonical(told) + b"\n")
    digest.update(volume.planes.data)
    return digest.hexdigest()


def key_of(job: Job, content: str) -> str | None:
    """Hex SHA-256 over all that the result of a scan with this content depends on; None: it may not be shared."""
    if not job.reuse or any(network.engine == UNMADE for network in job.networks):
        return None
    made_by = _made_by(job.pins, job.options, job.networks, _program())
    return hashlib.sha256(f"{made_by}\n{content}".encode()).hexdigest()


def taken_over(job: Job, earlier: ResultFiles, limits: Limits) -> tuple[run.Conclusion, run.Setting]:
    """What an earlier scan with the same key came to, as `job`'s own: its report says where this scan came from."""
    scan = job.scan
    report = Report.load(earlier.files["report.json"].data).model_copy(
        update={
            "scan": scan.id,
            "path": scan.path,
            "files": len(scan.files),
            "study_uid": scan.study_uid,
            "series_uid": scan.series_uid,
        }
    )
    made = {name: content.data for name, content in earlier.files.items()}
    conclusion = run.Conclusion(
        finding=report.finding,
        extents=report.extents,
        warnings=tuple(said.code for said in report.warnings),
        slices=len(report.slices),
        files=made | {"report.json": report.pretty()},
    )
    setting = run.Setting(
        pins=job.pins,
        options=job.options,
        engine=report.engine,
        precision=report.precision,
        processor=report.processor,
        software=report.software,
        limits=limits,
    )
    return conclusion, setting


@functools.lru_cache(maxsize=16)
def _made_by(pins: tuple[ModelPin, ...], options: Options, networks: tuple[Network, ...], program: str) -> str:
    """All that results depend on besides what the scans hold, told once for all scans of a batch."""
    told = {
        "pins": [pin.model_dump(mode="json") for pin in pins],
        "options": options.model_dump(mode="json", exclude=set(PLANNING)),
        "networks": [_told(network) for network in networks],
        "program": program,
        "records": [Result.VERSION, Report.VERSION],
    }
    return hashlib.sha256(_canonical(told)).hexdigest()


def _canonical(told: dict[str, Any]) -> bytes:
    return json.dumps(told, sort_keys=True, separators=(",", ":"), default=bytes.hex).encode()


def _told(network: Network) -> dict[str, Any]:
    """What of a network as it runs here changes what it says: all but where its files lie."""
    said = {name: value for name, value in asdict(network).items() if not isinstance(value, Path)}
    return said | {"processor": _processor(network.precision)}


@functools.cache
def _processor(precision: str) -> str:
    return processor_class(cast(Precision, precision))


@functools.cache
def _program() -> str:
    """The version, and a digest of the program's text: between two versions it changes too."""
    digest = hashlib.sha256()
    for room in MAKERS:
        for name, text in sorted(_texts(files(room), room)):
            digest.update(f"{name}\0{len(text)}\0".encode() + text)
    return f"{VERSION}+{digest.hexdigest()}"


def _texts(folder: Traversable, name: str) -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        below = f"{name}/{entry.name}"
        if entry.is_dir():
            yield from _texts(entry, below)
        elif entry.name.endswith(".py"):
            yield below, entry.read_bytes()
