"""The way of the two original systems: a loop, and Keras's `predict` picture by picture.

Run by `bench throughput`; `python -m bench.peers.loop ASKED` answers questions in JSON.
"""

import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from bench.asking import answer
from bench.peers.asked import Asked
from bench.peers.by_hand import SIDE, Found, Networks, finish, prepared, read, verdict, wants_mask


class Loop:
    """Networks in memory, and what is done with each picture."""

    def __init__(self, asked: Asked) -> None:
        self.asked, self.networks = asked, Networks(asked)
        for model in [*self.networks.classifiers.values(), self.networks.unet]:
            if model is not None:
                model.predict(np.zeros((1, SIDE, SIDE, 3), np.uint8), verbose=0)

    def run(self, scans: list[str], to: str) -> dict[str, Any]:
        """Judge pictures, one after another: how long it took (s), and what was found of each."""
        begun = time.monotonic()
        found = {Path(scan).name: asdict(self.judge(scan, Path(to))) for scan in scans}
        return {"seconds": time.monotonic() - begun, "found": found}

    def judge(self, scan: str, to: Path) -> Found:
        """Judge one picture and write its files."""
        picture, said = read(scan), {}
        for network in self.asked.named:
            square = prepared(picture, network.profile, self.asked)
            said[network.name] = self.networks.classifiers[network.name].predict(square[None], verbose=0)[0]
        found, maps = verdict(self.asked, said), None
        if self.networks.unet is not None and wants_mask(self.asked, found):
            maps = self.networks.unet.predict(prepared(picture, "plain", self.asked)[None], verbose=0)[0]
        return finish(self.asked, scan, to, picture, found, maps)


if __name__ == "__main__":
    answer(lambda: Loop(Asked.read(sys.argv[1])).run)
