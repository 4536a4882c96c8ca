"""Ray Data: `map_batches` over the pictures' paths, by one actor a core that holds the networks.

Run by `bench throughput` with an interpreter that has Ray (`bench.peers.ray_setup`);
`python -m bench.peers.ray_data ASKED` answers questions in JSON. Actors live as long as one run of a pipeline, so
each round starts them anew: its time begins when all have loaded their networks, and Ray is gone between rounds.
"""

import json
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from bench.asking import answer
from bench.peers.asked import Asked
from bench.peers.by_hand import BATCH, Networks, finish, prepared, read, verdict, wants_mask
from worker.cores import usable_cores

READY_SECONDS = 300  # until all actors have loaded their networks
STORE = 256 << 20  # bytes of shared memory: only paths and findings go through it


class Judge:
    """An actor: one thread, since there is one for each core."""

    def __init__(self, asked: Asked, to: str) -> None:
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        self.asked, self.to, self.networks = asked, Path(to), Networks(asked)
        self.networks.warm(BATCH, 1)
        self.ready = time.monotonic()

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Judge a batch of pictures and write their files."""
        scans = [str(scan) for scan in batch["item"]]
        pictures = [read(scan) for scan in scans]
        said = {
            known.name: self.networks.classifiers[known.name].predict_on_batch(self.squares(pictures, known.profile))
            for known in self.asked.named
        }
        found = [verdict(self.asked, {name: rows[at] for name, rows in said.items()}) for at in range(len(scans))]
        wanted = [at for at, one in enumerate(found) if self.networks.unet is not None and wants_mask(self.asked, one)]
        maps: dict[int, Any] = {}
        if wanted and self.networks.unet is not None:
            squares = self.squares([pictures[at] for at in wanted], "plain")
            maps = dict(zip(wanted, self.networks.unet.predict_on_batch(squares), strict=True))
        done = [
            finish(self.asked, scan, self.to, pictures[at], found[at], maps.get(at)) for at, scan in enumerate(scans)
        ]
        return {
            "scan": np.array([Path(scan).name for scan in scans]),
            "found": np.array([json.dumps(asdict(one)) for one in done]),
            "ready": np.full(len(scans), self.ready),
        }

    def squares(self, pictures: list[Any], profile: str) -> Any:
        """Pictures as a network takes them."""
        return np.stack([prepared(picture, profile, self.asked) for picture in pictures])


def run(asked: Asked, scans: list[str], to: str) -> dict[str, Any]:
    """Judge pictures: how long it took (s) from when all actors were ready, and what was found of each."""
    import ray

    with tempfile.TemporaryDirectory(prefix="ray-") as scratch:
        ray.init(
            num_cpus=usable_cores(),
            object_store_memory=STORE,
            include_dashboard=False,
            log_to_driver=False,
            _temp_dir=scratch,
        )
        try:
            context = ray.data.DataContext.get_current()
            context.wait_for_min_actors_s, context.enable_progress_bars = READY_SECONDS, False
            judging = ray.data.from_items(scans).map_batches(
                Judge, fn_constructor_args=(asked, to), batch_size=BATCH, concurrency=usable_cores()
            )
            rows = judging.take_all()
            ended = time.monotonic()
        finally:
            ray.shutdown()
    begun = max(float(row["ready"]) for row in rows)
    found = {str(row["scan"]): json.loads(row["found"]) for row in rows}
    return {"seconds": ended - begun, "found": found}


if __name__ == "__main__":
    answer(lambda: lambda scans, to: run(Asked.read(sys.argv[1]), scans, to))
