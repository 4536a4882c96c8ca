"""Objects in a folder keep the promises of a store, when processes die and disks are full too."""

import errno
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from neurobatch.codes import Code
from neurobatch.errors import Broken, Missing, Refused, Unavailable
from storage.folder import ABANDONED, PARTIAL, Folder
from storage.objects import New, S3Options, probe
from storage.opening import open_store
from storage.syncing import syncs_whole, whole_sync
from storage.testing import Conformance, Races, names, race_all, some_bytes
from tests.storage.streaming import growth

MIB = 1 << 20


@pytest.fixture
def store(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "store")


class TestFolder(Conformance):
    pass


class TestRaces(Races):
    @pytest.mark.slow
    def test_one_of_sixteen_wins_a_thousand_times(self, store: Folder) -> None:
        race_all(store, rounds=1_000, writers=16)


def create_all(folder: Path, names: list[str], mine: bytes, told: "multiprocessing.Queue[list[str]]") -> None:
    store = Folder(folder)
    told.put([name for name in names if store.create(name, mine)])


def test_processes_share_names_without_a_second_winner(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    told: multiprocessing.Queue[list[str]] = spawn.Queue()
    wanted = [f"shards/{number}/result.jsonl" for number in range(200)]
    writers = [spawn.Process(target=create_all, args=(tmp_path, wanted, b"%d" % n, told)) for n in range(3)]
    for writer in writers:
        writer.start()
    won = [name for _ in writers for name in told.get(timeout=60)]
    for writer in writers:
        writer.join()
    assert sorted(won) == sorted(wanted)


def test_an_object_is_an_ordinary_file(store: Folder, tmp_path: Path) -> None:
    store.create("tenants/a/batch.json", b"{}")
    assert (tmp_path / "store/tenants/a/batch.json").read_bytes() == b"{}"
    assert open_store((tmp_path / "store").as_uri()).get("tenants/a/batch.json") == b"{}"


WRITE_FOREVER = """
import sys
from pathlib import Path
from storage.folder import Folder
def endless():
    while True:
        yield b"x" * 65536
        print("writing", flush=True)
Folder(Path(sys.argv[1])).create("half", endless())
"""


def test_a_killed_writer_leaves_no_half_object(store: Folder, tmp_path: Path) -> None:
    root = str(tmp_path / "store")
    with subprocess.Popen([sys.executable, "-c", WRITE_FOREVER, root], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        writer.send_signal(signal.SIGKILL)
    assert names(store) == []
    assert store.create("half", b"whole")
    assert store.get("half") == b"whole"


def test_what_killed_writers_left_is_swept_after_a_day(store: Folder, tmp_path: Path) -> None:
    partial = tmp_path / "store" / PARTIAL
    partial.mkdir(parents=True)
    for name, age in (("old", ABANDONED + 60), ("young", 60)):
        (partial / name).write_bytes(b"half")
        os.utime(partial / name, (time.time() - age, time.time() - age))
    store.create("a", b"x")
    assert [path.name for path in partial.iterdir()] == ["young"]


FILL = """
import resource, sys
from pathlib import Path
from neurobatch.errors import Unavailable
from storage.folder import Folder
store = Folder(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
for write in (store.create, store.put):
    try:
        write("large", (b"x" * 65536 for _ in range(10)))
    except Unavailable as told:
        print(told.code)
print(store.create("small", b"fits"))
"""


def test_a_full_disk_is_told_and_leaves_nothing(store: Folder, tmp_path: Path) -> None:
    said = subprocess.run(
        [sys.executable, "-c", FILL, str(tmp_path / "store")], capture_output=True, text=True, check=True
    )
    assert said.stdout.split() == ["store_full", "store_full", "True"]
    assert names(store) == ["small"]
    assert list((tmp_path / "store" / PARTIAL).iterdir()) == []


FILL_TOGETHER = """
import resource, sys
from pathlib import Path
from neurobatch.errors import Unavailable
from storage.folder import Folder
from storage.objects import New
store = Folder(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    store.put_together([New(f"a/{number}", b"x" * 50_000 * number) for number in range(4)])
except Unavailable as told:
    print(told.code)
"""


def test_a_disk_that_fills_while_many_are_put_is_told_and_leaves_nothing_half(store: Folder, tmp_path: Path) -> None:
    root = tmp_path / "store"
    said = subprocess.run([sys.executable, "-c", FILL_TOGETHER, str(root)], capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["store_full"]
    assert names(store) == []
    assert list((root / PARTIAL).iterdir()) == []


def test_a_folder_is_named_by_many_at_once_while_others_empty_it(store: Folder) -> None:
    wanted = [New(f"shared/{number}", b"x") for number in range(4)]

    def put_and_delete(_: int) -> None:
        store.put_together(wanted)
        store.delete([new.name for new in wanted])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(put_and_delete, range(40)))
    store.put_together(wanted)
    assert names(store) == [new.name for new in wanted]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no syncfs")
def test_only_file_systems_that_keep_their_word_are_synced_whole() -> None:
    assert syncs_whole(Path("/dev/shm"))  # tmpfs
    assert not syncs_whole(Path("/proc"))
    assert not syncs_whole(Path("/not/there"))


def test_faults_of_a_whole_sync_are_told(tmp_path: Path) -> None:
    if not syncs_whole(tmp_path):
        pytest.skip("the file system of the test's folder is not synced whole")
    with whole_sync(tmp_path) as sync:
        (tmp_path / "file").write_bytes(b"x")
        sync()
    with pytest.raises(OSError, match="Bad file descriptor"):
        sync()


def test_a_link_whose_reply_was_lost_is_a_win(store: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    link = Path.hardlink_to

    def link_and_lose(self: Path, target: Path) -> None:  # what a client of NFS sees when it asks again
        link(self, target)
        raise FileExistsError(errno.EEXIST, "exists")

    monkeypatch.setattr(Path, "hardlink_to", link_and_lose)
    assert store.create("lost", b"mine")
    monkeypatch.undo()
    assert not store.create("lost", b"other")
    assert store.get("lost") == b"mine"


def test_a_file_system_without_links_is_refused_plainly(store: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(self: Path, target: Path) -> None:
        raise PermissionError(errno.EPERM, "no links here")

    monkeypatch.setattr(Path, "hardlink_to", no_links)
    with pytest.raises(Broken) as told:
        probe(store)
    assert told.value.code is Code.STORE_NOT_CONDITIONAL


def test_a_file_cut_while_it_is_read_is_an_error(store: Folder, tmp_path: Path) -> None:
    store.put("cut", some_bytes(3 * MIB))
    stream = store.read("cut")
    next(stream)
    os.truncate(tmp_path / "store/cut", MIB + 10)
    with pytest.raises(Unavailable):
        list(stream)


def test_emptied_folders_go_while_others_write_into_them(store: Folder, tmp_path: Path) -> None:
    ended = threading.Event()

    def come_and_go(number: int) -> int:
        count = 0
        while not ended.is_set():
            assert store.create(f"a/b/c/{number}", b"x")
            store.delete([f"a/b/c/{number}"])
            count += 1
        return count

    with ThreadPoolExecutor(4) as pool:
        counts = [pool.submit(come_and_go, number) for number in range(4)]
        time.sleep(1)
        ended.set()
        assert min(count.result() for count in counts) > 0
    assert not (tmp_path / "store/a").exists()


def test_names_are_in_byte_order_as_on_s3(store: Folder) -> None:
    for name in ("p/1", "p/2", "p-1", "p.x", "p0", "q"):
        store.put(name, b"")
    assert names(store) == ["p-1", "p.x", "p/1", "p/2", "p0", "q"]
    assert names(store, after="p.x") == ["p/1", "p/2", "p0", "q"]


def test_a_name_is_not_also_a_folder(store: Folder) -> None:
    store.put("a/b", b"x")
    for write in (store.create, store.put):
        with pytest.raises(Refused):
            write("a/b/c", b"x")
    with pytest.raises(Refused):
        store.put("a", b"x")
    assert names(store) == ["a/b"]


def test_no_link_leads_out_of_the_root(store: Folder, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    store.put("inside", b"fine")
    root = tmp_path / "store"
    (root / "out").symlink_to(tmp_path / "secret")
    (root / "up").symlink_to(tmp_path, target_is_directory=True)
    (root / "within").symlink_to(root / "inside")
    for name in ("out", "up/secret"):
        for ask in (store.get, store.head, store.read):
            with pytest.raises(Refused) as refused:
                ask(name)
            assert refused.value.code is Code.OUTSIDE_ROOTS
    with pytest.raises(Refused):
        store.list("up/")
    with pytest.raises(Refused):
        store.delete(["up/secret"])
    store.delete(["out"])
    assert (tmp_path / "secret").read_bytes() == b"secret"
    assert store.get("within") == b"fine"
    assert names(store) == ["inside", "up", "within"]


def test_a_pipe_is_no_object_and_holds_nobody_up(store: Folder, tmp_path: Path) -> None:
    store.put("a", b"")
    os.mkfifo(tmp_path / "store/pipe")
    with pytest.raises(Refused) as refused:
        store.read("pipe")
    assert refused.value.code is Code.UNSAFE_LINK
    assert store.head("pipe") is None


def test_a_folder_that_is_not_there_is_empty(tmp_path: Path) -> None:
    store = Folder(tmp_path / "none")
    assert names(store) == []
    assert store.head("a") is None
    with pytest.raises(Missing):
        store.get("a")
    store.delete(["a"])
    assert not (tmp_path / "none").exists()


def test_a_folder_that_may_not_be_written_is_told() -> None:
    with pytest.raises(Broken) as told:
        probe(Folder(Path("/sys/neurobatch")))  # not even by root
    assert told.value.code is Code.BAD_SETTING


@pytest.mark.parametrize("action", ["create", "put"])
def test_large_streams_are_never_held(tmp_path: Path, action: str) -> None:
    assert growth(tmp_path.as_uri(), S3Options(), action, size=120) < 16  # MiB
