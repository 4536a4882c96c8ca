import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.intake import SMALL, TOGETHER, Intake, Upload, Wish
from neurobatch.codes import Code
from neurobatch.errors import Refused, Unavailable
from neurobatch.records import (
    BatchState,
    Idempotency,
    Options,
    PlanEnd,
    RootSource,
    UploadSource,
)
from neurobatch.settings import Settings
from neurobatch.taking import shown_path
from storage import endings, names
from storage.folder import Folder
from storage.ledger import Ledger
from storage.memory import Memory
from storage.names import BatchKey
from storage.objects import Body, New, Objects, Stored
from storage.roots import Roots

NOW = datetime(2026, 11, 25, 3, tzinfo=UTC)


@dataclass
class Rung:
    """Bells that note what was rung; `down` is a broker that does not answer."""

    bells: list[tuple[str, str, str]] = field(default_factory=list)
    down: bool = False

    def ring_plan(self, key: BatchKey, queue: str) -> None:
        self._ring("plan", key, queue)

    def ring_settle(self, key: BatchKey, queue: str) -> None:
        self._ring("settle", key, queue)

    def _ring(self, word: str, key: BatchKey, queue: str) -> None:
        if self.down:
            raise Unavailable(Code.BROKER_UNAVAILABLE)
        self.bells.append((word, key.batch, queue))


def intake_over(store: Objects, tmp_path: Path, *, down: bool = False, **settings: int) -> tuple[Intake, Rung]:
    bells = Rung(down=down)
    made = Settings(home=tmp_path, **settings)  # type: ignore[arg-type]
    return Intake(Ledger(store), bells, made, Roots(configured={"scans": "/srv/scans"}), clock=lambda: NOW), bells


def uploads(*contents: bytes) -> list[Upload]:
    return [Upload(name=f"a/{n}.png", chunks=[content[:3], content[3:]]) for n, content in enumerate(contents)]


def all_names(store: Objects) -> list[str]:
    return [stored.name for stored in store.list("")]


def test_what_was_uploaded_lies_in_the_store_with_its_digest_and_a_planner_is_woken(tmp_path: Path) -> None:
    store = Memory()
    intake, bells = intake_over(store, tmp_path)
    batch = intake.submit("local", uploads(b"scan one", b""), Wish(options=Options(queue="urgent"), label="Mine"))
    key = BatchKey("local", batch.id)
    assert intake.ledger.batch(key) == batch
    assert batch.sources == (
        UploadSource(number=0, name="a/0.png", size=8, sha256=hashlib.sha256(b"scan one").hexdigest()),
        UploadSource(number=1, name="a/1.png", size=0, sha256=hashlib.sha256(b"").hexdigest()),
    )
    assert store.get(names.upload(key, 0)) == b"scan one"
    assert [opened.key for opened in intake.ledger.opened()] == [key]
    assert bells.bells == [("plan", batch.id, "urgent")]


class Noted(Folder):
    """A folder that notes in which groups objects are put."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.groups: list[int] = []

    def put_together(self, objects: Sequence[New]) -> None:
        self.groups.append(len(objects))
        super().put_together(objects)


def test_small_files_are_put_together_and_all_stand_before_the_batch_does(tmp_path: Path) -> None:
    store = Noted(tmp_path / "store")
    intake, bells = intake_over(store, tmp_path)
    contents = [b"%d" % number for number in range(TOGETHER + 2)]
    contents[1] = b"large" * SMALL  # a file that does not wait in memory for the others
    batch = intake.submit("local", uploads(*contents), Wish())
    assert [len(batch.sources), store.groups] == [len(contents), [TOGETHER, 1]]
    key = BatchKey("local", batch.id)
    assert [store.get(names.upload(key, number)) for number in range(len(contents))] == contents
    assert bells.bells == [("plan", batch.id, "normal")]


def test_small_files_that_waited_leave_nothing_where_a_later_one_is_refused(tmp_path: Path) -> None:
    store = Folder(tmp_path / "store")
    large = b"1" * (SMALL + 1)  # stands already when the last is refused
    intake, _ = intake_over(store, tmp_path, upload_limit=len(large) + 5)
    with pytest.raises(Refused):
        intake.submit("local", uploads(b"small", large, b"too much"), Wish())
    assert all_names(store) == []


def test_the_marker_stands_before_the_first_byte_is_read(tmp_path: Path) -> None:
    store = Memory()
    intake, _ = intake_over(store, tmp_path)
    seen: list[int] = []

    def chunks() -> Iterator[bytes]:
        seen.append(len(list(intake.ledger.opened())))
        yield b"x"

    intake.submit("local", [Upload(name="a.png", chunks=chunks())], Wish())
    assert seen == [1]


def test_a_broker_that_is_down_does_not_hinder_acceptance(tmp_path: Path) -> None:
    store = Memory()
    intake, bells = intake_over(store, tmp_path, down=True)
    batch = intake.submit("local", uploads(b"x"), Wish())
    assert intake.ledger.batch(BatchKey("local", batch.id)) == batch
    assert bells.bells == []
    intake.cancel(BatchKey("local", batch.id))
    assert intake.ledger.cancelling(BatchKey("local", batch.id))


@pytest.mark.parametrize(
    ("settings", "code"),
    [({"upload_limit": 9}, Code.TOO_LARGE), ({"upload_files_limit": 1}, Code.TOO_MANY_FILES)],
)
def test_beyond_a_limit_nothing_is_left_of_the_submission(tmp_path: Path, settings: dict[str, Any], code: Code) -> None:
    store = Memory()
    intake, bells = intake_over(store, tmp_path, **settings)
    with pytest.raises(Refused) as caught:
        intake.submit("local", uploads(b"12345", b"67890"), Wish())
    assert caught.value.code is code
    assert all_names(store) == []
    assert bells.bells == []


def test_the_limit_itself_is_allowed(tmp_path: Path) -> None:
    intake, _ = intake_over(Memory(), tmp_path, upload_limit=10, upload_files_limit=2)
    assert len(intake.submit("local", uploads(b"12345", b"67890"), Wish()).sources) == 2


def test_a_cut_upload_leaves_nothing(tmp_path: Path) -> None:
    store = Memory()
    intake, _ = intake_over(store, tmp_path)

    def cut() -> Iterator[bytes]:
        yield b"half"
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        intake.submit("local", [*uploads(b"whole"), Upload(name="b.png", chunks=cut())], Wish())
    assert all_names(store) == []


def test_a_submission_of_nothing_is_refused(tmp_path: Path) -> None:
    store = Memory()
    intake, _ = intake_over(store, tmp_path)
    with pytest.raises(Refused) as caught:
        intake.submit("local", [], Wish())
    assert caught.value.code is Code.NO_SOURCES
    assert all_names(store) == []


def test_an_unknown_root_is_refused_and_a_known_one_is_named(tmp_path: Path) -> None:
    store = Memory()
    intake, _ = intake_over(store, tmp_path)
    with pytest.raises(Refused) as caught:
        intake.submit("local", [RootSource(root="other", path="2024")], Wish())
    assert caught.value.code is Code.OUTSIDE_ROOTS
    assert all_names(store) == []
    batch = intake.submit("local", [RootSource(root="scans", path="2024/a")], Wish(listing="0" * 64))
    assert batch.sources == (RootSource(root="scans", path="2024/a"),)
    assert batch.listing == "0" * 64


def test_many_uploads_go_to_the_manifest_and_are_read_back_in_order(tmp_path: Path) -> None:
    store = Memory()
    intake, _ = intake_over(store, tmp_path)
    sources: list[Upload | RootSource] = [
        *uploads(*(str(n).encode() for n in range(201))),
        RootSource(root="scans"),
    ]
    batch = intake.submit("local", sources, Wish())
    assert batch.manifest is not None
    data = store.get(names.manifest(BatchKey("local", batch.id)))
    assert hashlib.sha256(data).hexdigest() == batch.manifest.sha256
    assert batch.manifest.count == 201
    found = list(intake.ledger.sources(batch))
    assert found[0] == RootSource(root="scans")
    assert [source.name for source in found[1:] if isinstance(source, UploadSource)] == [
        f"a/{n}.png" for n in range(201)
    ]


def test_the_same_key_and_request_is_one_batch(tmp_path: Path) -> None:
    store = Memory()
    intake, bells = intake_over(store, tmp_path)
    first = intake.submit("local", uploads(b"x"), Wish(idempotency_key="k"))
    before = all_names(store)
    assert intake.submit("local", uploads(b"x"), Wish(idempotency_key="k")) == first
    assert all_names(store) == before
    assert len(bells.bells) == 1


@pytest.mark.parametrize(
    "other",
    [Wish(idempotency_key="k", label="else"), Wish(idempotency_key="k", options=Options(segment="all"))],
)
def test_the_same_key_for_another_request_is_a_conflict(tmp_path: Path, other: Wish) -> None:
    store = Memory()
    intake, _ = intake_over(store, tmp_path)
    intake.submit("local", uploads(b"x"), Wish(idempotency_key="k"))
    before = all_names(store)
    with pytest.raises(Refused) as caught:
        intake.submit("local", uploads(b"x"), other)
    assert caught.value.code is Code.IDEMPOTENCY_CONFLICT
    assert all_names(store) == before
    with pytest.raises(Refused):
        intake.submit("local", uploads(b"y"), Wish(idempotency_key="k"))


def test_tenants_do_not_share_keys(tmp_path: Path) -> None:
    intake, _ = intake_over(Memory(), tmp_path)
    mine = intake.submit("mine", uploads(b"x"), Wish(idempotency_key="k"))
    yours = intake.submit("yours", uploads(b"y"), Wish(idempotency_key="k"))
    assert mine.id != yours.id


class DiesAt(Memory):
    """A store whose process dies before it puts the named object."""

    def __init__(self, ending: str) -> None:
        super().__init__()
        self.ending = ending

    def create(self, name: str, body: Body, *, content_type: str = "") -> bool:
        if self.ending and name.endswith(self.ending):
            raise KeyboardInterrupt
        return super().create(name, body, content_type=content_type)


def test_who_retries_with_the_key_completes_what_died_before_batch_json(tmp_path: Path) -> None:
    store = DiesAt("/batch.json")
    intake, bells = intake_over(store, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        intake.submit("local", uploads(b"x"), Wish(idempotency_key="k"))
    [opened] = intake.ledger.opened()
    store.ending = ""
    batch = intake.submit("local", uploads(b"x"), Wish(idempotency_key="k"))
    assert batch.id == opened.key.batch
    assert store.get(names.upload(opened.key, 0)) == b"x"
    assert [each.key for each in intake.ledger.opened()] == [opened.key]
    assert bells.bells == [("plan", batch.id, "normal")]


class LosesReply(Memory):
    """A store whose reply to `batch.json` is lost, although it was put."""

    def create(self, name: str, body: Body, *, content_type: str = "") -> bool:
        won = super().create(name, body, content_type=content_type)
        if name.endswith("/batch.json"):
            raise Unavailable(Code.STORE_UNAVAILABLE)
        return won


def test_a_lost_reply_never_takes_uploads_from_under_an_accepted_batch(tmp_path: Path) -> None:
    store = LosesReply()
    intake, _ = intake_over(store, tmp_path)
    with pytest.raises(Unavailable):
        intake.submit("local", uploads(b"x"), Wish())
    [batch] = intake.ledger.batches("local")
    assert store.get(names.upload(BatchKey("local", batch), 0)) == b"x"
    assert [opened.key.batch for opened in intake.ledger.opened()] == [batch]


class Full(Memory):
    """A store that has no room for uploads and then does not answer to deletions either."""

    def put(self, name: str, body: Body, *, content_type: str = "") -> Stored:
        if "/inputs/" in name:
            raise Unavailable(Code.STORE_FULL)
        return super().put(name, body, content_type=content_type)

    def delete(self, names: object) -> None:
        raise Unavailable(Code.STORE_UNAVAILABLE)


def test_the_first_error_is_told_when_withdrawing_fails_too(tmp_path: Path) -> None:
    intake, _ = intake_over(Full(), tmp_path)
    with pytest.raises(Unavailable) as caught:
        intake.submit("local", uploads(b"x"), Wish())
    assert caught.value.code is Code.STORE_FULL


def test_the_key_of_a_deleted_batch_says_so_and_brings_nothing_back(tmp_path: Path) -> None:
    store = Memory()
    intake, _ = intake_over(store, tmp_path)
    batch = intake.submit("local", uploads(b"x"), Wish(idempotency_key="k"))
    key = BatchKey("local", batch.id)
    intake.delete(key)
    with pytest.raises(Refused) as during:
        intake.submit("local", uploads(b"x"), Wish(idempotency_key="k"))
    endings.delete(intake.ledger, key, NOW)
    with pytest.raises(Refused) as after:
        intake.submit("local", uploads(b"x"), Wish(idempotency_key="k"))
    assert (during.value.code, after.value.code) == (Code.GONE, Code.GONE)
    assert all_names(store) == [names.idempotency("local", "k")]


def test_the_key_of_an_abandoned_submission_says_so(tmp_path: Path) -> None:
    store = Memory()
    intake, _ = intake_over(store, tmp_path)
    with intake.begin("local") as dead:
        dead.upload("a/0.png", [b"x"])
        claim = Idempotency(batch=dead.key.batch, request=dead._digest(Wish()))
        intake.ledger.claim("local", "k", claim)
    endings.abandon(intake.ledger, dead.key, NOW)
    with pytest.raises(Refused) as caught:
        intake.submit("local", uploads(b"x"), Wish(idempotency_key="k"))
    assert caught.value.code is Code.NEVER_HANDED_OVER


def test_expiry_is_what_was_asked_or_the_operators_default(tmp_path: Path) -> None:
    intake, _ = intake_over(Memory(), tmp_path, expires_days=30)
    asked = NOW + timedelta(hours=1)
    assert intake.submit("local", uploads(b"x"), Wish(expires=asked)).expires == asked
    assert intake.submit("local", uploads(b"x"), Wish()).expires == NOW + timedelta(days=30)
    with pytest.raises(Refused) as caught:
        intake.submit("local", uploads(b"x"), Wish(expires=NOW))
    assert caught.value.code is Code.INVALID_FIELD


def test_cancelling_is_a_wish_that_may_be_repeated(tmp_path: Path) -> None:
    intake, bells = intake_over(Memory(), tmp_path)
    batch = intake.submit("local", uploads(b"x"), Wish())
    key = BatchKey("local", batch.id)
    intake.cancel(key)
    intake.cancel(key)
    assert bells.bells[1:] == [("settle", batch.id, "normal")] * 2
    ended = endings.cancel(intake.ledger, key, NOW)
    assert ended is not None
    assert ended.state is BatchState.CANCELLED
    intake.cancel(key)  # it is cancelled, so the wish is fulfilled


def test_what_completed_can_no_longer_be_cancelled(tmp_path: Path) -> None:
    intake, _ = intake_over(Memory(), tmp_path)
    batch = intake.submit("local", uploads(b"x"), Wish())
    key = BatchKey("local", batch.id)
    intake.ledger.end_plan(key, PlanEnd(pages=0))
    endings.finalise(intake.ledger, key, NOW)
    with pytest.raises(Refused) as caught:
        intake.cancel(key)
    assert caught.value.code is Code.ALREADY_FINISHED


def test_a_deleted_batch_reads_as_gone_then_as_unknown(tmp_path: Path) -> None:
    store = Memory()
    intake, _ = intake_over(store, tmp_path)
    batch = intake.submit("local", uploads(b"x"), Wish())
    key = BatchKey("local", batch.id)
    intake.delete(key)
    with pytest.raises(Refused) as gone:
        intake.ledger.batch(key)
    endings.delete(intake.ledger, key, NOW)
    with pytest.raises(Refused) as unknown:
        intake.delete(key)
    assert (gone.value.code, unknown.value.code) == (Code.GONE, Code.NOT_FOUND)
    assert all_names(store) == []


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../etc/passwd", "etc/passwd"),
        ("C:\\Scans\\Снимок 1.png", "Scans/Снимок 1.png"),
        ("/abs//./x.dcm", "abs/x.dcm"),
        ("a\x00b\nc.png", "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}c.png"),
        ("gnp\N{RIGHT-TO-LEFT OVERRIDE}.exe", "gnp\N{REPLACEMENT CHARACTER}.exe"),
        (". /.. /x", "x"),
        ("..", ""),
        ("Ö/ü.nii.gz", "Ö/ü.nii.gz"),
    ],
)
def test_an_uploads_name_is_kept_as_the_user_knows_it_but_leads_nowhere(name: str, shown: str) -> None:
    assert shown_path(name) == shown


@given(st.text(st.characters(), max_size=3000))
def test_any_name_becomes_a_relative_path_that_can_be_stored(name: str) -> None:
    shown = shown_path(name)
    assert not shown.startswith("/")
    assert all(part.strip() not in ("", ".", "..") for part in shown.split("/") if shown)
    assert UploadSource(number=0, name=shown, size=0, sha256="0" * 64).model_dump_json().encode()


def test_a_file_whose_name_is_nothing_gets_one(tmp_path: Path) -> None:
    intake, _ = intake_over(Memory(), tmp_path)
    batch = intake.submit("local", [Upload(name="..", chunks=[b"x"])], Wish())
    assert [source.name for source in batch.sources if isinstance(source, UploadSource)] == ["upload-0"]
