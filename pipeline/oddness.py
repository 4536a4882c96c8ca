"""Whether a scan looks like what the networks were trained with: a knee, a photograph or a page gets no verdict.

A network tells of each slice how far it lies from its training pictures (`models.oddness`). A picture's oddness is its
own. A volume's is that of its middle slice by oddness, so that it is odd where more than half of its slices are: slices
at the edges of a head are odd by nature, and slices without content are not asked.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from neurobatch.codes import Code
from neurobatch.records import Finding, Label, ModelPin

ODDNESS_DIGITS = 3  # what is written, and so what is compared with the threshold

Oddness = NDArray[np.float64]


def written(distances: NDArray[np.float32]) -> Oddness:
    """A network's distances `(n,)` of the slices that it saw, rounded as they are written."""
    return np.asarray(np.round(np.maximum(distances.astype(np.float64), 0.0), ODDNESS_DIGITS), np.float64)


def of_scan(oddness: Oddness) -> float:
    """A scan's oddness from that of the slices `(n,)` that show something: the middle one, the lower of two."""
    return float(np.sort(oddness)[(len(oddness) - 1) // 2])


def weighed(found: Finding, oddness: Mapping[str, Oddness], pins: Sequence[ModelPin]) -> Finding:
    """Weigh against the verdict how odd the scan is.

    Args:
        found: what the classifiers say.
        oddness: by classifier, `(n,)` of the slices that it saw; of those that have a check.
        pins: the classifiers that were asked.

    Returns:
        A verdict that needs review where any of them finds the scan odd; else the verdict as it came.
    """
    if not any(pin.oddness and of_scan(oddness[pin.name]) >= pin.oddness.threshold for pin in pins):
        return found
    reasons = (Code.UNLIKE_TRAINING, *found.reasons)
    return found.model_copy(update={"label": Label.NEEDS_REVIEW, "reasons": reasons})
