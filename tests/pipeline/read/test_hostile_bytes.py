"""Whatever is done to a file's bytes: an error of neurobatch's own, within bounded time, and never a crash."""

import io
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neurobatch.errors import NeurobatchError
from neurobatch.records import ScanKind
from pipeline.limits import Limits
from pipeline.read.archives import members, read_whole
from pipeline.read.dicom import read_series
from pipeline.read.nifti import read_nifti
from pipeline.read.pictures import read_picture
from pipeline.read.sort import HEAD_BYTES, describe, sniff
from tests.pipeline.inputs import dicom, nifti, picture, tarred, zipped

LIMITS = Limits(
    file_bytes=16 << 20, picture_pixels=1 << 20, volume_voxels=1 << 22, archive_bytes=16 << 20, archive_slack=1 << 20
)
GREY = np.random.default_rng(5).integers(0, 255, (32, 40), np.uint8)
VOLUME = np.random.default_rng(6).integers(0, 999, (18, 19, 20)).astype(np.int16)
SECONDS = 5.0

SEEDS = {
    "png": picture(GREY),
    "jpeg": picture(GREY, "JPEG"),
    "tiff": picture(GREY, "TIFF", compression="tiff_lzw"),
    "bmp": picture(GREY, "BMP"),
    "webp": picture(np.dstack([GREY] * 3), "WEBP"),
    "dicom": dicom(),
    "nifti": nifti(VOLUME),
    "nifti.gz": nifti(VOLUME, packed=True),
    "zip": zipped({"a.png": picture(GREY), "b": b"1" * 500}),
    "tar": tarred({"a.png": picture(GREY), "b": b"1" * 500}),
    "tgz": tarred({"a.png": picture(GREY), "b": b"1" * 500}, "w:gz"),
}


@st.composite
def broken(draw: st.DrawFn, seed: bytes) -> bytes:
    """A file with bytes changed, cut out, doubled or cut off."""
    data = bytearray(seed)
    for _ in range(draw(st.integers(1, 6))):
        place = draw(st.integers(0, max(0, len(data) - 1)))
        if draw(st.booleans()):
            place = min(place, draw(st.integers(0, 600)))  # headers are where the trouble is
        change = draw(st.sampled_from(["set", "cut", "end", "double"]))
        if change == "set":
            new = draw(st.binary(min_size=1, max_size=8))
            data[place : place + len(new)] = new
        elif change == "cut":
            del data[place : place + draw(st.integers(1, 40))]
        elif change == "double":
            data[place:place] = data[place : place + draw(st.integers(1, 40))]
        else:
            del data[place:]
    return bytes(data)


def take_in(data: bytes) -> None:
    """Everything that planner and decoder would do with a file."""
    for member in members(io.BytesIO(data), LIMITS):
        if member.stream is not None:
            read_whole(member.stream, LIMITS)


def read(data: bytes) -> None:
    kind = sniff(data[:HEAD_BYTES])
    described = describe(kind, "file", io.BytesIO(data), LIMITS)
    if described.kind is ScanKind.PICTURE:
        read_picture(data, LIMITS)
    elif described.kind is ScanKind.NIFTI:
        read_nifti(data, LIMITS)
    else:
        read_series([data], LIMITS)


@pytest.mark.parametrize("name", sorted(SEEDS))
@given(choice=st.data())
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)
def test_a_broken_file_ends_in_an_error_of_ours_or_in_a_scan(name: str, choice: st.DataObject) -> None:
    data = choice.draw(broken(SEEDS[name]))
    started = time.monotonic()
    try:
        (take_in if name in ("zip", "tar", "tgz") else read)(data)
    except NeurobatchError:
        pass
    assert time.monotonic() - started < SECONDS


@given(data=st.binary(max_size=700))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_noise_ends_in_an_error_of_ours(data: bytes) -> None:
    for taker in (read, take_in):
        try:
            taker(data)
        except NeurobatchError:
            pass
