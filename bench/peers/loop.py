"""The way of the two original systems: a loop, and Keras's `predict` picture by picture.

The same networks, thresholds and outputs as neurobatch: mask, overlay and report of each picture, as files. Run by
`bench throughput`; `python -m bench.peers.loop CLASSIFIER[,CLASSIFIER] SEGMENT SEARCH` answers questions in JSON.
"""

import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np

from bench.asking import answer
from models.networks import load
from models.registry import Network, networks, open_weights
from pipeline.prepare.contrast import CLIP, TILES
from pipeline.prepare.denoise import PATCH, STRENGTH

DARK = 0.35  # share of red in the overlay


class Loop:
    """Networks in memory, and what is done with each picture."""

    def __init__(self, classifiers: list[str], segment: str, search: int) -> None:
        self.segment, self.search = segment, search  # `positive`, `all` or `none`; px of the denoiser's window
        self.classifiers = [(networks()[name], load(name, open_weights(name))) for name in classifiers]
        self.unet = None if segment == "none" else load("unet", open_weights("unet"))
        self.cut = networks()["unet"].threshold
        for model in [model for _, model in self.classifiers] + ([self.unet] if self.unet is not None else []):
            model.predict(np.zeros((1, 224, 224, 3), np.uint8), verbose=0)

    def run(self, scans: list[str], to: str) -> dict[str, Any]:
        """Judge pictures, one after another; how long it took, and each one's finding."""
        out, begun = Path(to), time.monotonic()
        found = {Path(scan).name: self.judge(Path(scan), out) for scan in scans}
        return {"seconds": time.monotonic() - begun, "findings": found}

    def judge(self, path: Path, out: Path) -> str:
        """Judge one picture and write its files."""
        picture = cv2.cvtColor(np.asarray(cv2.imread(str(path)), np.uint8), cv2.COLOR_BGR2RGB)
        said = [self.classify(picture, network, model) for network, model in self.classifiers]
        finding = label([network for network, _ in self.classifiers], said)
        mask = None
        if self.unet is not None and (self.segment == "all" or finding != "no_tumour"):
            mask = self.segmented(picture, self.unet)
            cv2.imwrite(str(out / f"{path.name}_mask.png"), mask.astype(np.uint8) * 255)
        if mask is not None or finding != "no_tumour":
            cv2.imwrite(str(out / f"{path.name}_overlay.png"), overlay(picture, mask))
        report = {
            "scan": path.name,
            "finding": finding,
            "probabilities": {network.name: p for (network, _), p in zip(self.classifiers, said, strict=True)},
            "mask_pixels": None if mask is None else int(mask.sum()),
        }
        (out / f"{path.name}_report.json").write_text(json.dumps(report, indent=2))
        return finding

    def classify(self, picture: Any, network: Network, model: keras.Model) -> float:
        """The calibrated probability of a tumour."""
        prepared = self.denoised(picture) if network.profile == "nlm-clahe" else picture
        square = cv2.resize(prepared, (network.size, network.size), interpolation=cv2.INTER_AREA)
        logit = float(model.predict(square[None], verbose=0)[0, 0])
        return 1 / (1 + math.exp(-logit / network.temperature))

    def denoised(self, picture: Any) -> Any:
        """Non-local means in colour, then CLAHE of lightness."""
        bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
        clean = cv2.fastNlMeansDenoisingColored(bgr, None, STRENGTH, STRENGTH, PATCH, self.search)
        lab = cv2.cvtColor(clean, cv2.COLOR_BGR2LAB)
        lab[:, :, 0] = cv2.createCLAHE(clipLimit=CLIP, tileGridSize=TILES).apply(np.ascontiguousarray(lab[:, :, 0]))
        return cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)

    def segmented(self, picture: Any, unet: keras.Model) -> Any:
        """Where any channel of the U-Net says tumour, on the picture's own grid."""
        square = cv2.resize(picture, (224, 224), interpolation=cv2.INTER_AREA)
        maps = unet.predict(square[None], verbose=0)[0]
        return (cv2.resize(maps, (picture.shape[1], picture.shape[0])) >= self.cut).any(axis=2)


def label(asked: list[Network], said: list[float]) -> str:
    """The verdict of one classifier or of two together."""
    mean, threshold = float(np.mean(said)), float(np.mean([network.threshold for network in asked]))
    low, high = (
        float(np.mean([getattr(network, name) for network in asked])) for name in ("review_low", "review_high")
    )
    votes = {p >= network.threshold for p, network in zip(said, asked, strict=True)}
    if len(votes) > 1 or (low < high and low <= mean <= high):
        return "needs_review"
    return "tumour" if mean >= threshold else "no_tumour"


def overlay(picture: Any, mask: Any) -> Any:
    """The picture with the mask in red, BGR."""
    drawn = picture.copy()
    if mask is not None:
        drawn[mask] = (drawn[mask] * (1 - DARK) + np.array([255, 0, 0]) * DARK).astype(np.uint8)
        outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(drawn, outlines, -1, (255, 0, 0), 1)
    return cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR)


if __name__ == "__main__":
    answer(lambda: Loop(sys.argv[1].split(","), sys.argv[2], int(sys.argv[3])).run)
