"""Links that are signed: valid for a while, for one object, and for nobody who changes a byte."""

import time

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from neurobatch.codes import Code
from neurobatch.errors import Refused
from storage.links import Linked, SignedLinks

LINKS = SignedLinks("/v1/links/", b"0123456789abcdef")


def token(seconds: int = 60) -> str:
    url = LINKS.link("tenants/a/mask.png", seconds=seconds, filename="кот mask.png")
    assert url.startswith("/v1/links/")
    return url.removeprefix("/v1/links/")


def test_a_link_stands_for_its_object() -> None:
    assert LINKS.verify(token()) == Linked(name="tenants/a/mask.png", filename="кот mask.png")
    assert SignedLinks("https://other", b"0123456789abcdef").verify(token()).name == "tenants/a/mask.png"


def test_a_link_ends() -> None:
    short = token(seconds=1)
    LINKS.verify(short)
    time.sleep(1.1)
    with pytest.raises(Refused) as refused:
        LINKS.verify(short)
    assert refused.value.code is Code.GONE


def test_another_secret_makes_other_links() -> None:
    with pytest.raises(Refused) as refused:
        SignedLinks("/v1/links", b"another secret of mine").verify(token())
    assert refused.value.code is Code.FORBIDDEN


GOOD = token(seconds=86_400)  # one for all examples: another second makes another link


@given(st.integers(0, len(GOOD) - 1), st.characters())
def test_no_changed_link_is_valid(at: int, other: str) -> None:
    assume(other != GOOD[at])
    changed = GOOD[:at] + other + GOOD[at + 1 :]
    try:
        linked = LINKS.verify(changed)
    except Refused:
        return
    # The last character of base64 holds bits that do not count.
    assert linked == Linked(name="tenants/a/mask.png", filename="кот mask.png")


@given(st.text())
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(Refused):
        LINKS.verify(text)


def test_a_link_leads_nowhere_else() -> None:
    with pytest.raises(Refused):
        LINKS.link("../secret", seconds=1, filename="x")


def test_a_short_secret_is_no_secret() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        SignedLinks("/v1", b"short")
