"""What every store must hold over a bad line, as a test class for pytest; see `storage.testing`.

`Faults` needs the fixture `faulty`: a store that is reached over a `Line`, which can be disturbed.
"""

from typing import Protocol

import pytest

from neurobatch.errors import Unavailable
from storage.objects import Objects
from storage.testing import MIB, chunked, some_bytes


class Line(Protocol):
    """A way to a store that can be disturbed, and the store at its end."""

    store: Objects

    def lose_reply(self) -> None:
        """The next write is done, but its answer does not arrive."""
        ...

    def conflict(self, times: int) -> None:
        """The next `times` writes are answered with 409."""
        ...

    def cut(self, after: int, times: int) -> None:
        """The next `times` reads end after so many bytes."""
        ...

    def pause(self, seconds: float) -> None:
        """The next read stops for so long in its middle."""
        ...

    def pending(self) -> int:
        """How many of the disturbances have not happened yet."""
        ...


class Faults:
    """Promises over a bad line. Needs the fixture `faulty`."""

    def test_a_put_whose_reply_is_lost_is_a_win(self, faulty: Line) -> None:
        faulty.lose_reply()
        assert faulty.store.create("lost", b"mine")
        assert faulty.pending() == 0
        assert faulty.store.get("lost") == b"mine"
        assert not faulty.store.create("lost", b"other")

    def test_a_large_stream_whose_reply_is_lost_is_a_win(self, faulty: Line) -> None:
        content = some_bytes(10 * MIB)
        faulty.lose_reply()
        assert faulty.store.create("lost", chunked(content, 100_000))
        assert faulty.pending() == 0
        assert faulty.store.get("lost") == content

    def test_a_conflict_is_tried_again(self, faulty: Line) -> None:
        faulty.conflict(2)
        assert faulty.store.create("conflict", b"mine")
        faulty.conflict(1)
        assert not faulty.store.create("conflict", b"other")
        assert faulty.pending() == 0
        assert faulty.store.get("conflict") == b"mine"

    def test_conflicts_without_end_are_told(self, faulty: Line, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("storage.s3.CONFLICT_WAITS", (0.01, 0.01))
        faulty.conflict(3)
        with pytest.raises(Unavailable):
            faulty.store.create("conflict", b"mine")
        assert faulty.pending() == 0

    def test_a_cut_stream_is_taken_up(self, faulty: Line) -> None:
        content = some_bytes(3 * MIB)
        faulty.store.put("cut", content)
        faulty.cut(after=MIB, times=2)
        assert b"".join(faulty.store.read("cut", chunk=100_000)) == content
        faulty.cut(after=1000, times=1)
        assert b"".join(faulty.store.read("cut", start=MIB, length=MIB)) == content[MIB : 2 * MIB]
        assert faulty.pending() == 0

    def test_a_stream_that_never_comes_whole_is_an_error(self, faulty: Line) -> None:
        faulty.store.put("cut", some_bytes(MIB))
        faulty.cut(after=0, times=1_000)
        with pytest.raises(Unavailable):
            faulty.store.get("cut")

    def test_a_stream_that_was_replaced_meanwhile_is_never_mixed(self, faulty: Line) -> None:
        faulty.store.put("mixed", b"a" * 3 * MIB)
        stream = faulty.store.read("mixed", chunk=100_000)
        faulty.store.put("mixed", b"b" * 3 * MIB)
        try:
            read = b"".join(stream)
        except Unavailable:
            return
        assert read == b"a" * 3 * MIB

    def test_a_slow_stream_is_waited_for(self, faulty: Line) -> None:
        content = some_bytes(2 * MIB)
        faulty.store.put("slow", content)
        faulty.pause(0.5)
        assert faulty.store.get("slow") == content
        assert faulty.pending() == 0

    def test_a_stream_that_stalls_is_taken_up(self, faulty: Line) -> None:
        content = some_bytes(2 * MIB)
        faulty.store.put("stalled", content)
        faulty.pause(10)
        assert faulty.store.get("stalled") == content
        assert faulty.pending() == 0
