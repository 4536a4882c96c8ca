"""The command offers every kind of phantom there is."""

from phantom.catalogue import Kind
from phantom.commands import KINDS, LOOKS
from phantom.sequences import Look


def test_every_kind_and_sequence_can_be_asked_for() -> None:
    assert tuple(each.value for each in Kind) == KINDS
    assert tuple(each.value for each in Look) == LOOKS
