"""What every store must hold: test classes for pytest, which each adapter's tests subclass.

    class TestFolder(Conformance):
        @pytest.fixture
        def store(self, tmp_path: Path) -> Folder:
            return Folder(tmp_path)

`Conformance` needs the fixture `store`, an empty one; so does `Races`, which lets many writers loose. What must hold
over a bad line is in `storage.testing_faults`.
"""

import io
import os
import random
import threading
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from neurobatch.codes import Code
from neurobatch.errors import Missing, Refused, Unavailable
from storage.objects import Body, New, Objects, copy, open_seekable, probe, put_all

MIB = 1 << 20
ODD_NAMES = (
    "a b", "a+b", "a%20b", "a%2Fb", "a&b=c", "a?b", "a#b", "a:b", "a'b", 'a"b', "(x)", "[x]", "*", "~x", "a;b",
    "a,b", "a@b", "$x", "{x}", "<x>", "`x`", "^x", "|x", "!x", "a..b", "x" * 255, "/".join(["y" * 200] * 4),
)  # fmt: skip
BAD_NAMES = (
    "", "/a", "a/", "a//b", ".", "..", "a/../b", "../a", "a/.b", ".a", "a\\b", "a\0b", "a\nb", "ä", "x" * 901
)  # fmt: skip
BAD_TO_READ = ("", "/etc/passwd", "../a", "a/../../b", "a/..", "a\0b")


def chunked(content: bytes, size: int) -> Iterator[bytes]:
    """The content in blocks of `size` bytes, as a stream that can be read once."""
    for start in range(0, len(content), size):
        yield content[start : start + size]


def some_bytes(size: int, seed: int = 0) -> bytes:
    """Bytes that do not compress, always the same."""
    return random.Random(seed).randbytes(size)


def breaking(content: bytes) -> Iterator[bytes]:
    """A stream that gives its content and then fails, as an upload whose sender goes away."""
    yield content
    raise ConnectionResetError("the sender went away")


def names(store: Objects, prefix: str = "", after: str = "") -> list[str]:
    """The listed names."""
    return [found.name for found in store.list(prefix, after=after)]


def race(store: Objects, name: str, writers: int, pool: ThreadPoolExecutor) -> list[bytes]:
    """Let `writers` create one name at the same moment; the bodies of those who were told that they won."""
    start = threading.Barrier(writers)

    def write(number: int) -> bytes | None:
        body = f"{name} by {number}".encode()
        start.wait()
        return body if store.create(name, body) else None

    return [body for body in pool.map(write, range(writers)) if body is not None]


def race_all(store: Objects, rounds: int, writers: int) -> None:
    """Run so many races; each has one winner, whose bytes are there."""
    with ThreadPoolExecutor(writers) as pool:
        for number in range(rounds):
            name = f"races/{writers}/{number}"
            assert race(store, name, writers, pool) == [store.get(name)], name


class Conformance:
    """Promises to one caller. Needs the fixture `store`."""

    sorts_bytes = True  # False: sorts as a tree, see Objects.list

    def test_what_was_written_is_read_back(self, store: Objects) -> None:
        assert store.create("a/b", b"content")
        assert store.get("a/b") == b"content"
        assert b"".join(store.read("a/b")) == b"content"

    def test_a_name_is_written_once(self, store: Objects) -> None:
        assert store.create("once", b"first")
        assert not store.create("once", b"second")
        assert not store.create("once", chunked(b"third", 2))
        assert store.get("once") == b"first"

    def test_put_replaces(self, store: Objects) -> None:
        first = store.put("note", b"first")
        second = store.put("note", b"the second")
        assert store.get("note") == b"the second"
        assert (first.size, second.size) == (5, 10)
        assert first.etag != second.etag
        assert not store.create("note", b"third")

    @pytest.mark.parametrize("count", [0, 1, 2, 40])
    def test_many_are_put_at_once(self, store: Objects, count: int) -> None:
        store.put("made/0/0/report", b"old")
        wanted = {f"made/{number}/{number % 3}/report": b"new %d" % number for number in range(count)}
        put_all(store, [New(name, data) for name, data in wanted.items()])
        assert {name: store.get(name) for name in wanted} == wanted
        assert set(names(store)) == {"made/0/0/report", *wanted}

    def test_of_many_a_name_that_may_not_be_is_refused(self, store: Objects) -> None:
        with pytest.raises(Refused):
            put_all(store, [New("a", b"1"), New("b", b"2"), New("c", b"3"), New(".d", b"4")])
        assert not [name for name in names(store) if name.startswith(".")]

    def test_a_name_is_free_again_after_delete(self, store: Objects) -> None:
        store.create("a/b", b"1")
        store.delete(["a/b", "a/never"])
        assert store.head("a/b") is None
        assert store.create("a/b", b"2")
        assert store.get("a/b") == b"2"

    def test_many_are_deleted_at_once(self, store: Objects) -> None:
        store.put("kept", b"")
        made = [f"gone/{number}" for number in range(1_050)]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda name: store.put(name, b"x"), made))
        store.delete(iter(made))
        assert names(store) == ["kept"]

    def test_head_tells_what_list_tells(self, store: Objects) -> None:
        put = store.put("a/b", b"12345")
        head = store.head("a/b")
        assert head is not None
        assert (head.name, head.size, head.etag) == ("a/b", 5, put.etag)
        assert [(found.name, found.size, found.etag) for found in store.list("")] == [("a/b", 5, put.etag)]
        for stored in (put, head, next(store.list(""))):
            assert stored.modified.tzinfo is UTC
            assert abs(stored.modified - datetime.now(UTC)) < timedelta(seconds=30)

    def test_what_is_not_there_is_missing(self, store: Objects) -> None:
        store.put("a/b", b"x")
        for name in ("none", "a", "a/b/c", "a/bc"):
            assert store.head(name) is None
            with pytest.raises(Missing):
                store.get(name)
            with pytest.raises(Missing):
                store.read(name)
            with pytest.raises(Missing):
                store.read(name, start=3, length=0)
            with pytest.raises(Missing):
                open_seekable(store, name)

    def test_no_bytes_are_an_object_too(self, store: Objects, tmp_path: Path) -> None:
        (tmp_path / "empty").touch()
        bodies: dict[str, Body] = {
            "bytes": b"",
            "stream": iter(()),
            "blocks": iter([b"", b""]),
            "file": tmp_path / "empty",
        }
        for name, body in bodies.items():
            assert store.create(f"create/{name}", body), name
        bodies |= {"stream": iter(()), "blocks": iter([b"", b""])}
        for name, body in bodies.items():
            assert store.put(f"put/{name}", body).size == 0, name
        for stored in store.list(""):
            assert stored.size == 0
            assert store.get(stored.name) == b""
            assert list(store.read(stored.name, start=0, length=10)) == []

    def test_ranges_are_as_of_a_slice(self, store: Objects) -> None:
        content = some_bytes(100)
        store.put("r", content)
        for start in (0, 1, 50, 99, 100, 101, 10_000):
            for length in (None, 0, 1, 50, 99, 100, 101, 10_000):
                expected = content[start:] if length is None else content[start : start + length]
                assert b"".join(store.read("r", start=start, length=length)) == expected, (start, length)

    def test_chunks_are_no_longer_than_asked(self, store: Objects) -> None:
        content = some_bytes(100_000)
        store.put("c", content)
        blocks = list(store.read("c", chunk=999))
        assert max(map(len, blocks)) <= 999
        assert b"".join(blocks) == content

    @pytest.mark.parametrize("size", [5 * MIB, 8 * MIB, 8 * MIB + 1, 20 * MIB])
    def test_large_streams_keep_every_byte(self, store: Objects, size: int) -> None:
        content = some_bytes(size)
        assert store.create("created", chunked(content, 100_003))
        assert store.put("put", chunked(content, 1_000_003)).size == size
        assert store.get("created") == content
        assert b"".join(store.read("put", start=size - 10)) == content[-10:]
        assert store.get("put") == content

    def test_files_are_sent_from_disk(self, store: Objects, tmp_path: Path) -> None:
        content = some_bytes(3 * MIB)
        (tmp_path / "file").write_bytes(content)
        assert store.create("created", tmp_path / "file")
        assert store.put("put", tmp_path / "file").size == len(content)
        assert store.get("created") == store.get("put") == content

    def test_a_stream_that_breaks_leaves_nothing(self, store: Objects) -> None:
        for content in (b"", b"begun", some_bytes(20 * MIB)):
            with pytest.raises(ConnectionResetError):
                store.create("broken", breaking(content))
            with pytest.raises(ConnectionResetError):
                store.put("broken", breaking(content))
        assert names(store) == []
        assert store.create("broken", b"whole")

    def test_a_replaced_object_stays_whole_when_the_new_stream_breaks(self, store: Objects) -> None:
        store.put("note", b"old")
        with pytest.raises(ConnectionResetError):
            store.put("note", breaking(some_bytes(20 * MIB)))
        assert store.get("note") == b"old"

    def test_odd_names_are_names(self, store: Objects) -> None:
        for name in ODD_NAMES:
            assert store.create(f"odd/{name}", name.encode()), name
            assert not store.create(f"odd/{name}", b"again"), name
        for name in ODD_NAMES:
            assert store.get(f"odd/{name}") == name.encode()
        assert sorted(names(store, "odd/")) == sorted(f"odd/{name}" for name in ODD_NAMES)
        store.delete(f"odd/{name}" for name in ODD_NAMES)
        assert names(store) == []

    @pytest.mark.parametrize("name", BAD_NAMES)
    def test_bad_names_are_refused(self, store: Objects, name: str) -> None:
        for write in (store.create, store.put):
            with pytest.raises(Refused) as refused:
                write(name, b"x")
            assert refused.value.code is Code.INVALID_FIELD
        assert names(store) == []

    @pytest.mark.parametrize("name", BAD_TO_READ)
    def test_names_that_lead_elsewhere_are_not_read(self, store: Objects, name: str) -> None:
        for ask in (store.get, store.head, store.read, lambda name: store.delete([name])):
            with pytest.raises(Refused):
                ask(name)

    def test_names_are_listed_in_order_in_pages(self, store: Objects) -> None:
        expected = sorted([f"p/{n % 7}/{n}" for n in range(1_203)] + [f"p/{n}x" for n in range(99)])
        shuffled = random.Random(1).sample(expected, len(expected))
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda name: store.put(name, b""), shuffled))
        assert names(store, "p/") == expected
        assert names(store) == expected
        for at in (0, 1, 500, 999, 1_000, 1_001, 1_300, 1_301):
            assert names(store, "p/", after=expected[at]) == expected[at + 1 :], at
        assert names(store, "p/3/") == [name for name in expected if name.startswith("p/3/")]

    def test_a_prefix_may_end_inside_a_segment(self, store: Objects) -> None:
        made = ["a/bc/1", "a/bd/1", "a/b", "a/c", "ab"]
        for name in made:
            store.put(name, b"")
        assert names(store, "a/b") == ["a/b", "a/bc/1", "a/bd/1"]
        assert names(store, "a/bc") == ["a/bc/1"]
        assert names(store, "a") == ["a/b", "a/bc/1", "a/bd/1", "a/c", "ab"]
        assert names(store, "a/b/") == names(store, "b") == names(store, "a/bc/1/") == []

    def test_listing_goes_on_after_names_that_are_gone(self, store: Objects) -> None:
        for name in ("n/1/a", "n/2/a", "n/3/a"):
            store.put(name, b"")
        assert names(store, "n/", after="n/1/b") == names(store, "n/", after="n/1/a") == ["n/2/a", "n/3/a"]
        assert names(store, "n/", after="n/2/a") == names(store, "n/", after="n/2/b") == ["n/3/a"]
        assert names(store, "n/", after="a") == ["n/1/a", "n/2/a", "n/3/a"]
        assert names(store, "n/", after="o") == names(store, "n/", after="n/3/a") == []

    def test_the_order_is_total_and_taken_up_anywhere(self, store: Objects) -> None:
        made = ["t/p/1", "t/p/2", "t/p-1", "t/p0/x", "t/p.x", "t/p1", "t/q"]
        for name in made:
            store.put(name, b"")
        order = names(store, "t/")
        assert sorted(order) == sorted(made)
        assert order == sorted(made) or not self.sorts_bytes
        for at, name in enumerate(order):
            assert names(store, "t/", after=name) == order[at + 1 :], name

    def test_a_listing_is_taken_one_page_at_a_time(self, store: Objects) -> None:
        for number in range(5):
            store.put(f"l/{number}", b"")
        listing = store.list("l/")
        assert next(listing).name == "l/0"
        store.delete(["l/4"])
        assert [found.name for found in listing][:3] == ["l/1", "l/2", "l/3"]

    def test_copies_are_equal_and_apart(self, store: Objects) -> None:
        content = some_bytes(3 * MIB)
        store.create("from/a", content)
        assert copy(store, "from/a", store, "to/a").size == len(content)
        store.delete(["from/a"])
        assert store.get("to/a") == content
        with pytest.raises(Missing):
            copy(store, "from/a", store, "to/b")

    def test_a_seekable_file_reads_members_of_an_archive(self, store: Objects) -> None:
        members = {f"m{number}": some_bytes(300_000, number) for number in range(8)}
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as into:
            for name, content in members.items():
                into.writestr(name, content)
        store.put("archive.zip", archive.getvalue())
        with open_seekable(store, "archive.zip", buffer=64 * 1024) as file, zipfile.ZipFile(file) as opened:
            assert {name: opened.read(name) for name in reversed(opened.namelist())} == members
        with open_seekable(store, "archive.zip") as file:
            assert file.seek(-7, os.SEEK_END) == len(archive.getvalue()) - 7
            assert file.read() == archive.getvalue()[-7:]
            assert file.read(1) == b""

    def test_the_probe_passes_and_leaves_nothing(self, store: Objects) -> None:
        probe(store)
        assert names(store) == []

    def test_a_reader_never_sees_half(self, store: Objects) -> None:
        whole = {bytes([letter]) * 300_000 for letter in b"abcd"}
        store.put("swapped", b"a" * 300_000)
        seen: set[bytes] = set()
        ended = threading.Event()

        def look() -> None:
            while not ended.is_set():
                try:
                    seen.add(store.get("swapped"))
                except Unavailable:  # replaced between two blocks: told, never mixed
                    continue

        reader = threading.Thread(target=look)
        reader.start()
        for content in sorted(whole) * 5:
            store.put("swapped", chunked(content, 50_000))
        ended.set()
        reader.join()
        assert seen
        assert seen <= whole


class Races:
    """Promises to many writers of one name. Needs the fixture `store`."""

    def test_one_of_eight_wins(self, store: Objects) -> None:
        race_all(store, rounds=2, writers=8)

    def test_one_of_two_wins(self, store: Objects) -> None:
        race_all(store, rounds=25, writers=2)
