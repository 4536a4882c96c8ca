"""Whether a peer did the same work: a peer that finds something else is none, and is not compared with."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from neurobatch.codes import Code
from neurobatch.errors import Broken
from neurobatch.records import Result, ScanState

# By the precision of our networks, while a peer's are float32: more would be another preparation.
NEAR = {"float32": 0.02, "mixed": 0.07, "bfloat16": 0.07}  # probability
SHARE = {"float32": 0.03, "mixed": 0.03, "bfloat16": 0.1}  # of a mask's pixels
FEW = 12  # pixels by which the smallest masks may differ
ENOUGH = 0.95  # of the scans that must agree; the rest lies at a threshold


@dataclass(frozen=True, kw_only=True)
class Said:
    """What was said of a scan."""

    finding: str
    probability: float  # of a tumour
    mask_pixels: int | None = None  # None: no mask was drawn

    @classmethod
    def by_us(cls, result: Result) -> "Said | None":
        """What neurobatch said; None where it said nothing."""
        if result.state is not ScanState.SUCCEEDED or result.finding is None:
            return None
        pixels = result.extents[0].pixels if result.extents else None
        return cls(finding=result.finding.label.value, probability=result.finding.probability, mask_pixels=pixels)

    def agrees(self, other: "Said", precision: str) -> bool:
        """Whether both say the same, but for what engines and precisions differ by."""
        if self.finding != other.finding or abs(self.probability - other.probability) > NEAR[precision]:
            return False
        if self.mask_pixels is None or other.mask_pixels is None:
            return self.mask_pixels is other.mask_pixels
        most = max(self.mask_pixels, other.mask_pixels)
        return abs(self.mask_pixels - other.mask_pixels) <= max(FEW, SHARE[precision] * most)


def agreeing(peer: str, ours: Mapping[str, Said], theirs: Mapping[str, Any], precision: str) -> int:
    """How many scans a peer found as we did.

    Args:
        peer: its name.
        ours: by scan.
        theirs: by scan, fields of a `Said`.
        precision: of our networks.

    Raises:
        Broken: `internal`, too few, or it left scans out.
    """
    if set(ours) != set(theirs):
        raise Broken(Code.INTERNAL, f"{peer} judged {len(theirs)} scans, not the {len(ours)} that neurobatch judged.")
    same = [scan for scan, said in ours.items() if said.agrees(Said(**theirs[scan]), precision)]
    if len(same) < ENOUGH * len(ours):
        raise Broken(Code.INTERNAL, f"{peer} is no peer: it found the same in {len(same)} of {len(ours)} scans only.")
    return len(same)
