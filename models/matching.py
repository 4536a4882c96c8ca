"""Which scan of a batch a label means: by its path, by the end of it, by scan id or by Series UID."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from models.labels import TABLE, Label, plain_path
from neurobatch.codes import Code
from neurobatch.errors import Refused
from neurobatch.records import Result


@dataclass(frozen=True, kw_only=True)
class Matched:
    """Labels and scans that belong together, and those that stand alone."""

    pairs: tuple[tuple[Label, Result], ...]
    unmatched: tuple[Label, ...]  # no scan is called so
    ambiguous: tuple[Label, ...]  # several scans are
    unlabelled: tuple[Result, ...]


def match(labels: Sequence[Label], results: Iterable[Result]) -> Matched:
    """Find the one scan of each label.

    A label's path fits where it is the scan's, or where one of both is the end of the other and no other scan's is.

    Raises:
        Refused: `bad_table`, two rows say different things of one scan.
    """
    scans = list(results)
    index = _Index(scans)
    pairs: dict[int, Label] = {}
    unmatched: list[Label] = []
    ambiguous: list[Label] = []
    for label in labels:
        found = index.find(label.path)
        if len(found) != 1:
            (ambiguous if found else unmatched).append(label)
            continue
        first = pairs.setdefault(found[0], label)
        if first.tumour != label.tumour:
            raise Refused(Code.BAD_TABLE, f"{TABLE}, rows {first.row} and {label.row} differ on the same scan.")
    return Matched(
        pairs=tuple((label, scans[place]) for place, label in sorted(pairs.items())),
        unmatched=tuple(unmatched),
        ambiguous=tuple(ambiguous),
        unlabelled=tuple(scan for place, scan in enumerate(scans) if place not in pairs),
    )


class _Index:
    """Scans by name, and by every end of their path."""

    def __init__(self, scans: Sequence[Result]) -> None:
        self._whole: dict[str, list[int]] = defaultdict(list)
        self._ends: dict[str, list[int]] = defaultdict(list)
        for place, scan in enumerate(scans):
            path = plain_path(scan.path)
            for name in {path, scan.scan, scan.series_uid or path}:
                self._whole[name].append(place)
            for end in _ends(path):
                self._ends[end].append(place)

    def find(self, path: str) -> list[int]:
        """Places of the scans that a label's path may mean; the closest fit decides."""
        if path in self._whole:
            return self._whole[path]
        if path in self._ends:
            return self._ends[path]
        return next((self._whole[end] for end in _ends(path) if end in self._whole), [])


def _ends(path: str) -> list[str]:
    """`b/c` and `c` for `a/b/c`: the longest first."""
    parts = path.split("/")
    return ["/".join(parts[first:]) for first in range(1, len(parts))]
