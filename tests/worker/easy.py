"""A whole worker for tests, as a process: `python -m tests.worker.easy`. Settings come from the environment.

Only decoding and judging are made easy: a scan's result says how many bytes it has. Its name may ask for time: `slow-`.
"""

import hashlib
import os
import signal
import time
from collections.abc import Generator
from types import FrameType

from kombu import Exchange, Queue

from neurobatch.records import Finding, Label, ScanState
from neurobatch.settings import load_settings
from storage.endings import line_of
from storage.ledger import Content
from worker.app import Worker
from worker.jobs import Job, Judged
from worker.log import log_to_stderr
from worker.messages import Feed, Outcome, Verdict
from worker.sources import Sources, SourcesConfig
from worker.stages import fetched
from worker.supervisor import Stages

SLOW_SECONDS = float(os.environ.get("EASY_SLOW_SECONDS", "0.1"))


def context(config: SourcesConfig) -> Sources:
    return Sources(config)


def flow(sources: Sources, job: Job) -> Generator[Feed, tuple[Verdict, ...], Outcome]:
    yield from ()  # a flow is a generator, although this one asks no network
    data = b"".join(fetched(sources, job))
    if "slow-" in job.scan.path:
        time.sleep(SLOW_SECONDS)
    finding = Finding(label=Label.NO_TUMOUR, probability=0.1, threshold=0.5)
    result = line_of(job.scan, state=ScanState.SUCCEEDED)
    result = result.model_copy(update={"finding": finding, "slices": job.scan.slices})
    files = {"report.json": Content("application/json", hashlib.sha256(data).hexdigest().encode())}
    return Outcome(value=Judged(result=result, files=files), size=len(data))


def main() -> None:
    settings = load_settings()
    log_to_stderr(settings.log_level)
    stages = Stages(
        flow="tests.worker.easy:flow",
        context="tests.worker.easy:context",
        load="tests.worker.flows:loader",
        context_settings=SourcesConfig.of(settings),
    )
    worker = Worker(settings, stages, deaf_seconds=float(os.environ.get("EASY_DEAF_SECONDS", "30")))
    if os.environ.pop("EASY_DEAF", ""):  # until it begins anew
        worker.app.conf.task_queues = [Queue("elsewhere", Exchange("", type="direct"), routing_key="elsewhere")]

    def stop(number: int, _: FrameType | None) -> None:
        worker.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    worker.run()


if __name__ == "__main__":
    main()
