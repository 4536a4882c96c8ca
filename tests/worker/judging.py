"""A flow over real jobs for tests of shards: reads the source's bytes, and does what they say.

`grey N` is a slice of that grey; `kill`, `hang`, `refuse` and `slow` are trouble. The networks are those of `flows`.
"""

import os
import signal
import time
from collections.abc import Generator
from typing import Any

import numpy as np

from neurobatch.codes import Code
from neurobatch.errors import ScanFailed
from neurobatch.records import Finding, Label, ScanState
from storage.endings import line_of
from storage.ledger import Content
from tests.worker.flows import SIDE
from worker.jobs import Job, Judged
from worker.messages import Feed, Outcome, Verdict
from worker.sources import Sources, SourcesConfig


def context(config: SourcesConfig) -> Sources:
    return Sources(config)


def flow(sources: Sources, job: Job) -> Generator[Feed, tuple[Verdict, ...], Outcome]:
    data = b""
    for _, fetched in sources.fetch(job.key, job.sources, job.scan.files):
        if isinstance(fetched, ScanFailed):
            raise fetched
        data += fetched
    word, _, rest = data.decode().partition(" ")
    _trouble(word)
    grey = int(rest or 0)

    def prepare(_: int) -> Any:
        time.sleep(0.02 if word == "slow" else 0.0)
        return np.full((SIDE, SIDE, 3), grey, np.uint8)

    slices = job.scan.slices
    (verdict,) = yield Feed(networks=job.networks, count=slices, prepare=prepare, held=len(data))
    probability = float(verdict.values.mean()) / 255
    label = Label.TUMOUR if probability >= 0.5 else Label.NO_TUMOUR
    finding = Finding(label=label, probability=round(probability, 4), threshold=0.5)
    result = line_of(job.scan, state=ScanState.SUCCEEDED)
    result = result.model_copy(update={"finding": finding, "slices": slices, "engine": verdict.ran.engine})
    files = {"report.json": Content("application/json", f'{{"grey": {grey}}}'.encode())}
    return Outcome(value=Judged(result=result, files=files), size=20)


def _trouble(word: str) -> None:
    match word:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "hang":
            time.sleep(3600)
        case "refuse":
            raise ScanFailed(Code.DAMAGED)
