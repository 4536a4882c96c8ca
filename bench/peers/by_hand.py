"""What every peer does with a picture, as one writes it with OpenCV and Keras.

The same networks, thresholds and outputs as neurobatch's: mask, overlay and report of each picture, as files.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np

from bench.peers.asked import Asked
from models.networks import load
from models.registry import networks, open_check, open_weights
from pipeline.finding import DISAGREEING_SHARE, EVEN
from pipeline.prepare.contrast import CLIP, TILES
from pipeline.prepare.denoise import PATCH, SEARCH, STRENGTH

SIDE = 224  # px of what the networks take
BATCH = 16  # pictures that a network gets at once, where a peer has batches
ORIGINAL_SEARCH = 21  # px: OpenCV's own default of the denoiser's window, which the original systems took
DARK = 0.35  # share of red in the overlay


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a peer says of a picture."""

    finding: str
    probability: float  # of a tumour, the mean of the classifiers
    mask_pixels: int | None = None  # None: no mask was wanted


class Networks:
    """The Keras models in memory: each classifier by name, and the segmenter unless nothing is segmented."""

    def __init__(self, asked: Asked) -> None:
        self.classifiers: dict[str, keras.Model] = {
            name: load(name, open_weights(name), check=open_check(name)) for name in asked.classifiers
        }
        self.unet: keras.Model | None = None if asked.segment == "none" else load("unet", open_weights("unet"))

    def warm(self, *batches: int) -> None:
        """Let each network see so many pictures at once; two sizes make Keras trace a network for any size."""
        for model in [*self.classifiers.values(), *([] if self.unet is None else [self.unet])]:
            for batch in batches:
                model.predict_on_batch(np.zeros((batch, SIDE, SIDE, 3), np.uint8))


def read(path: str) -> Any:
    """A picture `(h, w, 3)` RGB uint8."""
    return cv2.cvtColor(np.asarray(cv2.imread(path), np.uint8), cv2.COLOR_BGR2RGB)


def prepared(picture: Any, profile: str, asked: Asked) -> Any:
    """What a network of this profile takes: `(SIDE, SIDE, 3)` uint8."""
    if profile == "nlm-clahe":
        picture = _contrasted(_in_colour(picture, ORIGINAL_SEARCH)) if asked.as_originals else _cleaned(picture)
    return cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def verdict(asked: Asked, said: Mapping[str, Any]) -> Found:
    """Judge a picture by what each classifier says of it: its logit, and how odd it is where there is a check."""
    known = asked.named
    each = [1 / (1 + math.exp(-float(said[one.name][0]) / one.temperature)) for one in known]
    mean, threshold, low, high = (
        float(np.mean(values))
        for values in (
            each,
            [one.threshold for one in known],
            [one.review_low for one in known],
            [one.review_high for one in known],
        )
    )
    disagree = len({p >= one.threshold for p, one in zip(each, known, strict=True)}) > 1
    odd = any(one.oddness is not None and said[one.name][1] >= one.oddness.threshold for one in known)
    if disagree or odd or (low < high and low <= mean <= high):
        finding = "needs_review"
    else:
        finding = "tumour" if mean >= threshold else "no_tumour"
    return Found(finding=finding, probability=mean)


def wants_mask(asked: Asked, found: Found) -> bool:
    """Whether the segmenter shall see the picture."""
    return asked.segment == "all" or (asked.segment == "positive" and found.finding != "no_tumour")


def mask_of(picture: Any, maps: Any) -> Any:
    """Where any channel `(SIDE, SIDE, c)` of the segmenter says tumour, on the picture's own grid."""
    grown = cv2.resize(maps, (picture.shape[1], picture.shape[0]))
    return (grown >= networks()["unet"].threshold).any(axis=2)


def concluded(found: Found, mask: Any) -> Found:
    """What is found, the mask considered: a large one contradicts "no tumour", none a faint "tumour"."""
    contradicts = found.finding == "no_tumour" and mask.mean() >= DISAGREEING_SHARE
    missing = found.finding == "tumour" and not mask.any() and found.probability < EVEN
    return Found(
        finding="needs_review" if contradicts or missing else found.finding,
        probability=found.probability,
        mask_pixels=int(mask.sum()),
    )


def save(to: Path, name: str, picture: Any, found: Found, mask: Any) -> None:
    """Write a picture's files: report, and mask and overlay where there is something to show."""
    if mask is not None:
        cv2.imwrite(str(to / f"{name}_mask.png"), mask.astype(np.uint8) * 255)
    if mask is not None or found.finding != "no_tumour":
        cv2.imwrite(str(to / f"{name}_overlay.png"), _overlay(picture, mask))
    (to / f"{name}_report.json").write_text(json.dumps({"scan": name, **asdict(found)}, indent=2))


def finish(asked: Asked, scan: str, to: Path, picture: Any, found: Found, maps: Any) -> Found:
    """Make and write what belongs to a picture; `maps` is None where it was not segmented."""
    mask = None if maps is None else mask_of(picture, maps)
    found = found if mask is None else concluded(found, mask)
    save(to, Path(scan).name, picture, found, mask)
    return found


def _cleaned(picture: Any) -> Any:
    """Denoised and contrasted; grey, which is most of all scans, as the one plane that it is."""
    if (picture != picture[:, :, :1]).any():
        return _contrasted(_in_colour(picture, SEARCH))
    plane = cv2.fastNlMeansDenoising(np.ascontiguousarray(picture[:, :, 0]), None, STRENGTH, PATCH, SEARCH)
    contrasted = _contrasted(cv2.cvtColor(plane, cv2.COLOR_GRAY2RGB))
    return cv2.cvtColor(np.ascontiguousarray(contrasted[:, :, 1]), cv2.COLOR_GRAY2RGB)


def _in_colour(picture: Any, search: int) -> Any:
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    clean = cv2.fastNlMeansDenoisingColored(bgr, None, STRENGTH, STRENGTH, PATCH, search)
    return cv2.cvtColor(clean, cv2.COLOR_BGR2RGB)


def _contrasted(picture: Any) -> Any:
    """CLAHE of lightness."""
    lab = cv2.cvtColor(picture, cv2.COLOR_RGB2LAB)
    lab[:, :, 0] = cv2.createCLAHE(clipLimit=CLIP, tileGridSize=TILES).apply(np.ascontiguousarray(lab[:, :, 0]))
    return cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)


def _overlay(picture: Any, mask: Any) -> Any:
    """The picture with the mask in red, BGR."""
    drawn = picture.copy()
    if mask is not None:
        drawn[mask] = (drawn[mask] * (1 - DARK) + np.array([255, 0, 0]) * DARK).astype(np.uint8)
        outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(drawn, outlines, -1, (255, 0, 0), 1)
    return cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR)
