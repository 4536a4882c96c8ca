"""Celery with one task a picture: prefork workers, one process a core, which load the networks once.

Run by `bench throughput`; `python -m bench.peers.celery_tasks ASKED BROKER FOLDER` starts a worker on that broker
(its log goes into the folder) and answers questions in JSON. A worker's processes have one thread each, since there
is one for each core.
"""

import os
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from celery import Celery, group
from celery.signals import worker_process_init

from bench.asking import answer
from bench.peers.asked import Asked
from deploy.local.processes import Process
from worker.cores import usable_cores

ASKED, BROKER = "BENCH_ASKED", "BENCH_BROKER"  # environment of the worker
QUEUE = "bench-peers"
SECONDS = 900.0  # for a round, the first of which loads the networks
STOP_SECONDS = 5.0

app = Celery("bench.peers.celery_tasks", broker=os.environ.get(BROKER), backend=os.environ.get(BROKER))
app.conf.update(task_default_queue=QUEUE, broker_connection_retry_on_startup=True, worker_hijack_root_logger=False)
held: dict[str, Any] = {}  # what each process of the worker keeps


@worker_process_init.connect
def load_networks(**_: object) -> None:
    """After the fork, since TensorFlow does not survive one."""
    import tensorflow as tf

    from bench.peers.by_hand import Networks

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    held["asked"] = Asked.read(os.environ[ASKED])
    held["networks"] = Networks(held["asked"])
    held["networks"].warm(1)


@app.task
def judge(scan: str, to: str) -> dict[str, Any]:
    """Judge one picture and write its files."""
    from bench.peers.by_hand import finish, prepared, read, verdict, wants_mask

    asked, networks = held["asked"], held["networks"]
    picture, said = read(scan), {}
    for network in asked.named:
        square = prepared(picture, network.profile, asked)
        said[network.name] = networks.classifiers[network.name].predict_on_batch(square[None])[0]
    found, maps = verdict(asked, said), None
    if networks.unet is not None and wants_mask(asked, found):
        maps = networks.unet.predict_on_batch(prepared(picture, "plain", asked)[None])[0]
    return asdict(finish(asked, scan, Path(to), picture, found, maps))


def run(scans: list[str], to: str) -> dict[str, Any]:
    """Send a task a picture and wait for all: how long it took (s), and what was found of each."""
    begun = time.monotonic()
    done = group(judge.s(scan, to) for scan in scans).apply_async().get(timeout=SECONDS)
    seconds = time.monotonic() - begun
    return {"seconds": seconds, "found": {Path(scan).name: found for scan, found in zip(scans, done, strict=True)}}


def serve(asked: str, broker: str, folder: str) -> None:
    """Start the worker, answer questions, stop the worker."""
    app.conf.update(broker_url=broker, result_backend=broker)
    words = ("--pool", "prefork", "--concurrency", str(usable_cores()), "--without-gossip", "--without-mingle")
    command = [sys.executable, "-m", "celery", "-A", "bench.peers.celery_tasks", "worker", *words, "-Q", QUEUE]
    environment = {ASKED: asked, BROKER: broker, "OMP_NUM_THREADS": "1"}
    worker = Process("Celery worker", command, log=Path(folder) / "celery.log", env=environment)
    try:
        answer(lambda: run)
    finally:
        worker.stop(STOP_SECONDS)


if __name__ == "__main__":
    serve(*sys.argv[1:])
