"""Files of results are put in groups, and each who waits is told of its own."""

import functools
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from neurobatch.codes import Code
from neurobatch.errors import Unavailable
from neurobatch.records import Result, ScanKind, ScanState
from storage.folder import Folder
from storage.ledger import Content, Ledger
from storage.memory import Memory
from storage.names import BatchKey, new_batch_id
from storage.objects import New, Objects
from worker.jobs import Judged
from worker.putting import Putting

KEY = BatchKey("t", new_batch_id())


class Slow(Folder):
    """A folder whose groups wait until they are let go."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.go = threading.Event()
        self.groups: list[int] = []
        self.full = False

    def put_together(self, objects: Sequence[New]) -> None:
        self.go.wait(30)
        self.groups.append(len(objects))
        if self.full:
            raise Unavailable(Code.STORE_FULL)
        super().put_together(objects)


def judged(number: int) -> Judged:
    result = Result(
        scan=f"{number:09d}-0123456789ab", state=ScanState.SUCCEEDED, kind=ScanKind.PICTURE, source=0, path="a", files=1
    )
    return Judged(result=result, files={"report.json": Content("application/json", b"%d" % number)})


@pytest.fixture(params=["folder", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Objects:
    return Folder(tmp_path) if request.param == "folder" else Memory()


def test_every_result_names_its_own_files(store: Objects) -> None:
    over: list[int] = []
    putting = Putting(Ledger(store))
    waiting = [putting.put(KEY, judged(number), functools.partial(over.append, number)) for number in range(150)]
    putting.close()
    assert sorted(over) == list(range(150))
    for number, future in enumerate(waiting):
        result = future.result()
        assert result.scan == judged(number).result.scan
        (artifact,) = result.artifacts
        found = list(store.list(f"{KEY.prefix}artifacts/{result.scan}/"))
        assert [store.get(each.name) for each in found] == [b"%d" % number]
        assert artifact.size == found[0].size


def test_what_waits_while_a_folder_writes_is_put_together(tmp_path: Path) -> None:
    store = Slow(tmp_path)
    putting = Putting(Ledger(store))
    waiting = [putting.put(KEY, judged(number), lambda: None) for number in range(60)]
    store.go.set()
    putting.close()
    assert all(future.result().artifacts for future in waiting)
    assert sum(store.groups) == 60
    assert len(store.groups) < 10


def test_a_store_that_is_full_is_told_to_each_who_waits(tmp_path: Path) -> None:
    store, over = Slow(tmp_path), list[int]()
    store.full = True
    putting = Putting(Ledger(store))
    waiting = [putting.put(KEY, judged(number), lambda: over.append(1)) for number in range(10)]
    store.go.set()
    putting.close()
    assert [type(future.exception()) for future in waiting] == [Unavailable] * 10
    assert len(over) == 10
