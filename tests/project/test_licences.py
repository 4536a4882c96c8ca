"""Nothing that is installed with neurobatch comes under a copyleft that a hospital would have to clear."""

import re
from importlib.metadata import PackageNotFoundError, distribution

from requirements import lock

PERMISSIVE = re.compile(
    r"MIT|BSD|Apache|ISC|MPL|Mozilla Public|HPND|PSF|Unlicense|Python Software Foundation|Public Domain|Zlib",
    re.IGNORECASE,
)
COPYLEFT = re.compile(r"\b(A?GPL|LGPL|GNU)", re.IGNORECASE)
# Packages whose metadata say nothing, with the licence that their own licence file states.
READ_BY_HAND = {"namex": "Apache-2.0"}


def licence(name: str) -> str:
    """What a distribution's metadata say of its licence: expression, classifiers, first line of text."""
    if name in READ_BY_HAND:
        return READ_BY_HAND[name]
    metadata = distribution(name).metadata
    classifiers = [line for line in metadata.get_all("Classifier") or [] if line.startswith("License")]
    free = [text.strip().split("\n")[0] for text in metadata.get_all("License") or []]
    return " / ".join([*(metadata.get_all("License-Expression") or []), *classifiers, *free])


def test_everything_in_the_lock_has_a_permissive_licence() -> None:
    names = {pin[1] for line in (lock.HERE / "run.txt").read_text().splitlines() if (pin := lock.PIN.match(line))}
    found = {}
    for name in sorted(names):
        try:
            found[name] = licence(name)
        except PackageNotFoundError:
            continue  # for another system or another Python
    assert len(found) > 50
    doubtful = {name: text for name, text in found.items() if not PERMISSIVE.search(text) or COPYLEFT.search(text)}
    assert doubtful == {}
