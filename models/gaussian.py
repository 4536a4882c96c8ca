"""A Gaussian of feature vectors with few principal directions, its file, and how far a vector lies from it.

In the principal directions variance is what was seen, in all others one and the same (probabilistic PCA: Tipping &
Bishop, JRSS B 61 (1999)). The Mahalanobis distance (Lee et al., NeurIPS 2018) then counts the residual from these
directions with it, as in ViM (Wang et al., CVPR 2022): what is nowhere near the vectors seen mostly lies there.
"""

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from models.weightfile import check
from neurobatch.codes import Code
from neurobatch.errors import Broken

LEAST_SCALE = 0.05  # of the median deviation: a feature that hardly ever moved is not judged by its least move
ARRAYS = ("mean", "scale", "directions", "variances", "rest")

Vectors = NDArray[np.float64]  # (n, d)


@dataclass(frozen=True, kw_only=True, eq=False)
class Gaussian:
    """d features, k principal directions; as they are kept."""

    mean: NDArray[np.float32]  # (d,)
    scale: NDArray[np.float32]  # (d,) deviations by which features are divided first
    directions: NDArray[np.float32]  # (d, k), orthonormal; float16 in the file
    variances: NDArray[np.float32]  # (k,) in the principal directions
    rest: float  # variance in each other direction

    def distance(self, vectors: NDArray[np.floating]) -> Vectors:
        """Mahalanobis distances `(n,)` of vectors `(n, d)`, over the root of d: vectors like those seen lie near 1."""
        shown = (vectors - self.mean) / self.scale
        along = shown @ self.directions
        residual = shown - along @ self.directions.T
        squares = (along**2 / self.variances).sum(axis=1) + (residual**2).sum(axis=1) / self.rest
        return np.asarray(np.sqrt(squares / len(self.mean)), np.float64)


def fitted(vectors: Vectors, weights: NDArray[np.float64], directions: int) -> Gaussian:
    """Fit vectors `(n, d)`, each counting as much as its weight `(n,)` says, with so many principal directions."""
    share = weights / weights.sum()
    mean = share @ vectors
    deviations = np.sqrt(share @ (vectors - mean) ** 2)
    scale = np.maximum(deviations, LEAST_SCALE * np.median(deviations))
    _, values, axes = np.linalg.svd((vectors - mean) / scale * np.sqrt(share)[:, None], full_matrices=False)
    variances = values**2
    return Gaussian(
        mean=mean.astype(np.float32),
        scale=scale.astype(np.float32),
        directions=axes[:directions].T.astype(np.float16).astype(np.float32),
        variances=variances[:directions].astype(np.float32),
        rest=float(np.float32(variances[directions:].sum() / (vectors.shape[1] - directions))),
    )


def write(gaussian: Gaussian, file: Path, fitted_on: str) -> None:
    """Write arrays and nothing else; `fitted_on` is the sha256 of the weight file whose features these are."""
    with h5py.File(file, "w", track_order=False) as content:
        content.attrs["fitted_on"] = fitted_on
        for name in ARRAYS:
            kind = np.float16 if name == "directions" else np.float32
            content.create_dataset(name, data=np.asarray(getattr(gaussian, name), kind), track_times=False)


def read(file: Path, fitted_on: str) -> Gaussian:
    """Read what `write` wrote.

    Raises:
        Broken: `weights_damaged`, it is no such file, or was fitted on other weights than those of this sha256.
    """
    check(file)
    try:
        with h5py.File(file, "r") as content:
            if content.attrs["fitted_on"] != fitted_on:
                raise Broken(Code.WEIGHTS_DAMAGED, "a check was fitted on other weights than it is used with")
            arrays = {name: np.asarray(content[name][()], np.float32) for name in ARRAYS}
    except (OSError, KeyError, TypeError) as error:
        raise Broken(Code.WEIGHTS_DAMAGED, "the file of a check is damaged") from error
    return Gaussian(
        mean=arrays["mean"],
        scale=arrays["scale"],
        directions=arrays["directions"],
        variances=arrays["variances"],
        rest=float(arrays["rest"]),
    )
