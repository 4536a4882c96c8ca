"""Planning over files that cost a request each: opened ahead, several at a time, and planned in their order."""

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neurobatch.codes import Code
from neurobatch.errors import ScanFailed
from neurobatch.records import RootSource, UploadSource
from storage import names
from storage.ledger import Ledger
from storage.opening import open_store
from storage.roots import Roots
from tests.pipeline.inputs import dicom_series, picture, ramp, zipped
from tests.worker.planned import Bench
from worker.ahead import THREADS, WINDOW, Ahead
from worker.folders import Opened
from worker.pages import PageLimits
from worker.sources import SourcesConfig

PNG = picture(ramp().astype(np.uint8))


def opened(number: int) -> Opened:
    return Opened(BytesIO(str(number).encode()), 1, str(number))


def test_files_are_opened_several_at_a_time_and_given_in_order() -> None:
    lock, now, most = threading.Lock(), 0, 0

    def slowly(number: int) -> Callable[[], Opened]:
        def how() -> Opened:
            nonlocal now, most
            with lock:
                now += 1
                most = max(most, now)
            time.sleep(0.02 if number % 3 else 0.05)
            with lock:
                now -= 1
            return opened(number)

        return how

    with Ahead() as ahead:
        given = [(item, future.result().stamp) for item, future in ahead.over(range(50), slowly) if future]
    assert given == [(number, str(number)) for number in range(50)]
    assert 1 < most <= THREADS


def test_no_more_is_opened_than_the_window() -> None:
    begun: list[int] = []

    def how(number: int) -> Callable[[], Opened]:
        begun.append(number)
        return lambda: opened(number)

    with Ahead() as ahead:
        files = ahead.over(range(1000), how)
        for _ in range(5):
            next(files)
    assert len(begun) <= WINDOW + 6


def test_what_is_not_opened_ahead_waits_for_nothing() -> None:
    asked: list[int] = []

    def items() -> Iterator[int]:
        for number in range(5):
            asked.append(number)
            yield number

    with Ahead() as ahead:
        first, future = next(ahead.over(items(), lambda _: None))
    assert (first, future, asked) == (0, None, [0])


def test_a_file_that_cannot_be_opened_is_told_at_its_turn() -> None:
    def how(number: int) -> Callable[[], Opened]:
        def fails() -> Opened:
            raise ScanFailed(Code.SOURCE_MISSING)

        return fails if number == 1 else lambda: opened(number)

    with Ahead() as ahead:
        futures = [future for _, future in ahead.over(range(3), how) if future]
        assert [future.exception() is None for future in futures] == [True, False, True]


@pytest.fixture
def bench(tmp_path: Path, seaweed_place: Any) -> Bench:
    """A bench whose store and root are on a real S3 server."""
    bench = Bench(tmp_path)
    bench.config = SourcesConfig(
        store=f"{seaweed_place.url}/store", s3=seaweed_place.options, roots=Roots(configured={"r": seaweed_place.url})
    )
    bench.ledger = Ledger(open_store(bench.config.store, seaweed_place.options))
    return bench


def test_uploads_on_s3_are_planned_in_their_order(bench: Bench) -> None:
    files = {f"{number:02}.png": PNG for number in range(12)} | {"a.zip": zipped({"x.png": PNG, "y.txt": b"words"})}
    files |= {f"s/{number}": data for number, data in enumerate(dicom_series(3))} | {"empty": b""}
    sources = tuple(
        UploadSource(number=number, name=name, size=len(data), sha256=hashlib.sha256(data).hexdigest())
        for number, (name, data) in enumerate(files.items())
    )
    missing = sources[5]
    key = bench.accept(*sources)
    for source, data in zip(sources, files.values(), strict=True):
        if source is not missing:
            bench.ledger.objects.put(names.upload(key, source.number), data)
    bench.plan(key, limits=PageLimits(files=5))
    paths = [scan.path for scan in bench.scans(key)]
    assert paths == [*(name for name in files if name[2:] == ".png" and name != missing.name), "a.zip/x.png", "s"]
    assert bench.left_out(key) == {
        missing.name: Code.SOURCE_MISSING, "a.zip/y.txt": Code.NOT_A_SCAN, "empty": Code.EMPTY_FILE,
    }  # fmt: skip


def test_a_bucket_is_planned_page_by_page(bench: Bench, seaweed_place: Any) -> None:
    objects = open_store(seaweed_place.url, seaweed_place.options)
    for number in range(9):
        objects.put(f"in/{number}.png", PNG)
    objects.put("in/all.zip", zipped({f"{number}.png": PNG for number in range(4)}))
    key = bench.accept(RootSource(root="r", path="in"))
    bench.plan(key, limits=PageLimits(files=3))
    expected = [f"in/{number}.png" for number in range(9)] + [f"in/all.zip/{number}.png" for number in range(4)]
    assert sorted(scan.path for scan in bench.scans(key)) == sorted(expected)
    assert len(bench.pages(key)) >= 5
