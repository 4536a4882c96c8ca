"""Streams are inflated within bounds, and a head is a file that ends where its limit says."""

import gzip
import io
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurobatch.codes import Code
from neurobatch.errors import ScanFailed
from pipeline.read.streams import Head, TooLong, gunzipped, inflated, opened_head


def in_pieces(data: bytes, size: int) -> list[bytes]:
    return [data[place : place + size] for place in range(0, len(data), size)]


@given(parts=st.lists(st.binary(max_size=5000), min_size=1, max_size=4), size=st.integers(1, 700))
def test_gzip_comes_out_whole_however_it_was_cut_into_pieces(parts: list[bytes], size: int) -> None:
    packed = b"".join(gzip.compress(part) for part in parts)
    assert b"".join(inflated(iter(in_pieces(packed, size)), 1 << 20)) == b"".join(parts)


@given(data=st.binary(min_size=200, max_size=5000), cut=st.integers(1, 40))
def test_gzip_that_is_cut_short_is_told(data: bytes, cut: int) -> None:
    packed = gzip.compress(data)
    with pytest.raises(ScanFailed) as caught:
        gunzipped(packed[:-cut], 1 << 20)
    assert caught.value.code is Code.TRUNCATED


def test_padding_behind_gzip_is_no_damage() -> None:
    assert gunzipped(gzip.compress(b"scan") + b"\0" * 600, 100) == b"scan"


def test_a_bomb_gives_no_more_than_the_limit() -> None:
    out = 0
    with pytest.raises(TooLong):  # noqa: PT012 - what came out before is counted
        for piece in inflated(iter([gzip.compress(b"\0" * (64 << 20))]), 1 << 20):
            out += len(piece)
    assert out <= 1 << 20


def test_a_changed_byte_is_damage_or_a_cut() -> None:
    packed = bytearray(gzip.compress(bytes(range(256)) * 20))
    packed[-6] ^= 0xFF  # the checksum
    with pytest.raises(zlib.error):
        list(inflated(iter([bytes(packed)]), 1 << 20))


@given(
    data=st.binary(max_size=3000),
    size=st.integers(1, 500),
    steps=st.lists(st.tuples(st.sampled_from(["read", "seek", "skip"]), st.integers(0, 3500)), max_size=12),
)
def test_a_head_reads_and_seeks_as_a_file_does(data: bytes, size: int, steps: list[tuple[str, int]]) -> None:
    head, file = Head(iter(in_pieces(data, size)), 1 << 20), io.BytesIO(data)
    for what, number in steps:
        if what == "read":
            assert head.read(number) == file.read(number)
        elif what == "seek":
            assert head.seek(number) == file.seek(number)
        else:
            assert head.seek(number, io.SEEK_CUR) == file.seek(number, io.SEEK_CUR)
        assert head.tell() == file.tell()


def test_a_head_ends_at_its_limit_whatever_length_is_asked_for() -> None:
    head = Head(iter([b"x" * 1000] * 1000), 2500)
    assert len(head.read(1 << 40)) == 2500
    assert head.read(1) == b""


def test_a_head_takes_only_what_it_is_asked_for() -> None:
    taken = []

    class Source(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            taken.append(size)
            return super().read(size)

    opened_head(Source(b"x" * (1 << 20)), 1 << 20).read(100)
    assert len(taken) == 1
