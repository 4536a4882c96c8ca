"""What gc sweeps, and what it leaves."""

from datetime import UTC, datetime, timedelta

import pytest

from neurobatch.records import Batch, ModelPin, OddnessPin, PlanStart
from storage import names
from storage.endings import abandon, cancel
from storage.gc import sweep
from storage.ledger import Content, Ledger
from storage.memory import Memory
from storage.names import BatchKey
from tests.storage.test_ledger_stateful import accept, plan, recover, work

NOW = datetime.now(UTC)
LATER = NOW + timedelta(days=2)
KEY = BatchKey("local", names.new_batch_id())


@pytest.fixture
def ledger() -> Ledger:
    return Ledger(Memory())


def test_results_of_a_finished_batch_stay_and_artifacts_of_a_lost_try_go(ledger: Ledger) -> None:
    accept(KEY, ledger.objects)
    plan(KEY, 3, ledger.objects)
    work(KEY, 0, ledger.objects)
    for _ in range(2):  # the first works on what waits, the second finalises
        recover(timedelta(0), ledger.objects)
    kept = {stored.name for stored in ledger.objects.list("tenants/")}
    page = ledger.page(KEY, 0)
    assert page is not None
    ledger.put_artifacts(KEY, page.shards[0].scans[0].id, {"report.json": Content("application/json", b"a lost try")})
    assert sweep(ledger, "local", LATER, dry_run=True).objects == 1
    assert sweep(ledger, "local", NOW).objects == 0
    assert sweep(ledger, "local", LATER).objects == 1
    assert {stored.name for stored in ledger.objects.list("tenants/")} == kept


def test_a_batch_that_runs_is_left_alone_and_so_are_its_networks(ledger: Ledger) -> None:
    accept(KEY, ledger.objects)
    pin = ModelPin(
        name="unet", kind="segmenter", sha256="ab" * 32, profile="plain", size=224,
        threshold=0.5, review_low=0.5, review_high=0.5, oddness=OddnessPin(sha256="ef" * 32, threshold=2.0),
    )  # fmt: skip
    ledger.start_plan(KEY, PlanStart(models=(pin,), precision="float32", software="1"))
    for digest in ("ab" * 32, "cd" * 32, "ef" * 32):
        ledger.objects.put(names.model(digest), b"weights")
    assert sweep(ledger, "local", LATER).objects == 1
    kept = [stored.name for stored in ledger.objects.list("models/")]
    assert kept == [names.model("ab" * 32), names.model("ef" * 32)]
    assert ledger.known(KEY) is not None


def test_what_an_abandoned_upload_left_goes(ledger: Ledger) -> None:
    ledger.open(KEY)
    ledger.objects.put(names.upload(KEY, 0), b"half of it")
    abandon(ledger, KEY, NOW)
    assert sweep(ledger, "local", LATER).objects == 1
    assert [stored.name for stored in ledger.objects.list(KEY.prefix)] == [names.batch(KEY), names.end(KEY)]


def test_an_expired_batch_is_deleted_whole(ledger: Ledger) -> None:
    ledger.open(KEY)
    ledger.accept(Batch(id=KEY.batch, tenant="local", created=NOW, expires=NOW + timedelta(hours=1)))
    cancel(ledger, KEY, NOW)
    assert sweep(ledger, "local", NOW).expired == 0
    assert sweep(ledger, "local", LATER).expired == 1
    assert list(ledger.objects.list("tenants/")) == []
