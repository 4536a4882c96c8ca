"""The supervisor and its children, as real processes: nothing is lost, whatever dies."""

import os
import pickle
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError, wait
from pathlib import Path
from typing import Any

import psutil
import pytest

from neurobatch.codes import Code
from neurobatch.errors import Broken, NeurobatchError, ScanFailed, Unavailable
from neurobatch.settings import MIB, Settings
from tests.worker.flows import (
    CLASSIFIER,
    FATAL,
    GLUE,
    GREED,
    MISSING,
    POISON,
    SEGMENTER,
    SLUGGISH,
    Scan,
    die,
    double,
    refuse,
    sleep,
    threads,
)
from worker.heartbeat import moves, pulses
from worker.supervisor import Stages, Supervisor, Ticket

STAGES = Stages(flow="tests.worker.flows:flow", context="tests.worker.flows:context", load="tests.worker.flows:loader")
SECONDS = 240.0  # that anything may take here before a test fails: starting a process may, on a busy machine


def settings(tmp_path: Path, **changes: Any) -> Settings:
    given: dict[str, Any] = {"home": tmp_path, "decoders": 2, "device_batch": 4, "arena": 16 * MIB, **changes}
    return Settings(**given)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Supervisor]:
    """One supervisor for the tests that leave it as they found it."""
    with Supervisor(settings(tmp_path_factory.mktemp("home")), STAGES) as supervisor:
        yield supervisor
        assert_all_slots_are_free(supervisor)


def assert_all_slots_are_free(supervisor: Supervisor) -> None:
    until = time.monotonic() + 10
    while (counts := supervisor.free_slots)[0] != counts[1]:
        assert time.monotonic() < until, counts
        time.sleep(0.02)


def value(ticket: Ticket) -> Any:
    outcome = ticket.future.result(SECONDS)
    ticket.put_away()
    return outcome.value


def code(ticket: Ticket) -> Code:
    error = ticket.future.exception(SECONDS)
    assert isinstance(error, NeurobatchError)
    return error.code


def wait_for(condition: Any) -> None:
    until = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


# -- judging -------------------------------------------------------------------------------------------------------


def test_every_slice_gets_its_own_verdict_in_order(shared: Supervisor) -> None:
    greys = tuple(range(70, 107))
    assert value(shared.judge(Scan(greys=greys))) == (tuple(float(grey) for grey in greys),)


def test_masks_come_back_as_they_were_written(shared: Supervisor) -> None:
    ticket = shared.judge(Scan(greys=(0, 1, 128, 255), networks=(CLASSIFIER, SEGMENTER)))
    assert value(ticket) == ((0.0, 1.0, 128.0, 255.0), (0.0, 1.0, 128.0, 255.0))


def test_many_scans_share_full_device_batches(shared: Supervisor) -> None:
    before = shared.pulse()
    tickets = [shared.judge(Scan(greys=(grey,))) for grey in range(100, 200)]
    assert [value(ticket) for ticket in tickets] == [((float(grey),),) for grey in range(100, 200)]
    after = shared.pulse()
    assert after.slices - before.slices == 100
    assert after.batches - before.batches <= 50, "device batches were nearly empty"


def test_as_many_batches_run_at_once_as_the_network_has_streams(tmp_path: Path) -> None:
    stages = Stages(flow=STAGES.flow, context=STAGES.context, load="tests.worker.flows:paired", streams=2)
    with Supervisor(settings(tmp_path), stages) as supervisor:
        assert supervisor.width == 8
        tickets = [supervisor.judge(Scan(greys=tuple(range(start, start + 4)))) for start in (10, 20, 30, 40)]
        for ticket, start in zip(tickets, (10, 20, 30, 40), strict=True):
            assert value(ticket) == (tuple(float(grey) for grey in range(start, start + 4)),)


def test_a_slice_that_kills_the_process_is_not_taken_for_a_network_that_cannot_be_loaded(tmp_path: Path) -> None:
    stages = Stages(flow=STAGES.flow, context=STAGES.context, load=STAGES.load, load_settings=1.0, streams=2)
    with Supervisor(settings(tmp_path, decoders=1), stages) as supervisor:
        value(supervisor.judge(Scan()))  # its network is loaded, and another's is not
        bad = supervisor.judge(Scan(greys=(POISON,)))
        good = supervisor.judge(Scan(greys=(7,), networks=(SLUGGISH,)))
        assert code(bad) is Code.CRASHED
        assert value(good) == ((7.0,),)


def test_a_lone_slice_does_not_wait_for_company(shared: Supervisor) -> None:
    value(shared.judge(Scan()))
    begun = time.monotonic()
    value(shared.judge(Scan()))
    assert time.monotonic() - begun < 0.5


def test_a_series_larger_than_the_arena_streams_through_it(shared: Supervisor) -> None:
    count = 3 * shared.free_slots[1]
    greys = tuple(index % 60 for index in range(count))
    both = (CLASSIFIER, SEGMENTER)
    tickets = [shared.judge(Scan(greys=greys, networks=both)) for _ in range(3)]
    expected = tuple(float(grey) for grey in greys)
    assert [value(ticket) for ticket in tickets] == [(expected, expected)] * 3


# -- scans that fail -----------------------------------------------------------------------------------------------


def test_what_a_flow_raises_is_raised(shared: Supervisor) -> None:
    assert code(shared.judge(Scan(trouble="refuse"))) == Code.DAMAGED


def test_an_unforeseen_error_fails_its_scan_alone_and_quotes_no_patient(
    shared: Supervisor, capfd: pytest.CaptureFixture[str]
) -> None:
    bad = shared.judge(Scan(trouble="raise"))
    assert value(shared.judge(Scan(greys=(5,)))) == ((5.0,),)
    error = bad.future.exception(SECONDS)
    assert isinstance(error, ScanFailed)
    assert error.code == Code.CRASHED
    assert "Doe" not in str(error) + capfd.readouterr().err


def test_an_allocation_that_fails_is_out_of_memory(shared: Supervisor) -> None:
    assert code(shared.judge(Scan(trouble="memory"))) == Code.OUT_OF_MEMORY


def test_a_scan_that_always_kills_its_decoder_is_crashed_and_no_other_is(shared: Supervisor) -> None:
    bad = [shared.judge(Scan(trouble=trouble)) for trouble in ("die", "prepare")]
    good = [shared.judge(Scan(greys=(grey,))) for grey in range(20)]
    assert [value(ticket) for ticket in good] == [((float(grey),),) for grey in range(20)]
    assert [code(ticket) for ticket in bad] == [Code.CRASHED] * 2


def test_a_scan_that_kills_its_decoder_once_is_judged(shared: Supervisor, tmp_path: Path) -> None:
    assert value(shared.judge(Scan(greys=(7,), trouble="die", unless=tmp_path / "once"))) == ((7.0,),)


def test_a_scan_handed_in_alone_is_crashed_at_its_first_death(shared: Supervisor, tmp_path: Path) -> None:
    assert code(shared.judge(Scan(trouble="die", unless=tmp_path / "once"), alone=True)) == Code.CRASHED


def test_a_scan_that_hangs_is_timed_out_and_the_others_go_on(tmp_path: Path) -> None:
    with Supervisor(settings(tmp_path, scan_seconds=0.7, decoders=1), STAGES) as supervisor:
        value(supervisor.judge(Scan()))
        bad = supervisor.judge(Scan(trouble="hang"))
        good = [supervisor.judge(Scan(greys=(grey,))) for grey in range(8)]
        assert [value(ticket) for ticket in good] == [((float(grey),),) for grey in range(8)]
        assert code(bad) == Code.TIMED_OUT
        assert_all_slots_are_free(supervisor)


def test_time_in_a_queue_is_not_time_at_work(tmp_path: Path) -> None:
    with Supervisor(settings(tmp_path, scan_seconds=1.0, decoders=1), STAGES) as supervisor:
        tickets = [supervisor.judge(Scan(greys=(1, 2), seconds=0.2)) for _ in range(10)]
        assert [value(ticket) for ticket in tickets] == [((1.0, 2.0),)] * 10


def test_the_time_of_all_steps_of_a_scan_is_counted_together(tmp_path: Path) -> None:
    with Supervisor(settings(tmp_path, scan_seconds=1.0, decoders=1), STAGES) as supervisor:
        assert code(supervisor.judge(Scan(greys=(1,) * 30, prepare_seconds=0.06))) == Code.TIMED_OUT
        assert_all_slots_are_free(supervisor)


def test_a_scan_that_eats_memory_is_out_of_memory(tmp_path: Path) -> None:
    with Supervisor(settings(tmp_path, decoder_memory=300 * MIB, decoders=1), STAGES) as supervisor:
        bad, good = supervisor.judge(Scan(trouble="eat")), supervisor.judge(Scan(greys=(9,)))
        assert code(bad) == Code.OUT_OF_MEMORY
        assert value(good) == ((9.0,),)


# -- processes that die --------------------------------------------------------------------------------------------


def test_a_killed_decoder_loses_no_scan(shared: Supervisor) -> None:
    tickets = [shared.judge(Scan(greys=(grey, grey), seconds=0.01)) for grey in range(60)]
    wait([tickets[5].future])
    os.kill(shared.pids()[0][0], signal.SIGKILL)
    assert [value(ticket) for ticket in tickets] == [((float(grey),) * 2,) for grey in range(60)]


def test_a_killed_network_process_loses_no_slice(shared: Supervisor) -> None:
    tickets = [shared.judge(Scan(greys=(grey, grey), seconds=0.01)) for grey in range(60)]
    wait([tickets[5].future])
    network = shared.pids()[1]
    assert network is not None
    os.kill(network, signal.SIGKILL)
    assert [value(ticket) for ticket in tickets] == [((float(grey),) * 2,) for grey in range(60)]


def test_a_scan_that_kills_the_network_again_by_itself_is_crashed_and_no_other_is(shared: Supervisor) -> None:
    tickets = [shared.judge(Scan(greys=(grey, grey))) for grey in (1, 2, POISON, 3, 4)]
    assert code(tickets.pop(2)) == Code.CRASHED
    assert [value(ticket) for ticket in tickets] == [((float(grey),) * 2,) for grey in (1, 2, 3, 4)]


@pytest.mark.parametrize(
    ("grey", "seconds", "expected"), [(GLUE, 1.0, Code.TIMED_OUT), (GREED, SECONDS, Code.OUT_OF_MEMORY)]
)
def test_a_slice_that_holds_up_or_bloats_the_network_fails_its_scan(
    tmp_path: Path, grey: int, seconds: float, expected: Code
) -> None:
    tight = settings(tmp_path, scan_seconds=seconds, network_memory=256 * MIB, decoders=1)
    with Supervisor(tight, STAGES) as supervisor:
        tickets = [supervisor.judge(Scan(greys=(each,))) for each in (1, grey, 2)]
        assert code(tickets.pop(1)) == expected
        assert [value(ticket) for ticket in tickets] == [((1.0,),), ((2.0,),)]


def test_a_network_that_cannot_be_loaded_is_no_scans_fault(shared: Supervisor) -> None:
    bad = shared.judge(Scan(networks=(MISSING,)))
    with pytest.raises(Broken, match="weights_damaged"):
        bad.future.result(SECONDS)
    assert value(shared.judge(Scan(greys=(3,)))) == ((3.0,),)


def test_a_network_that_dies_whenever_it_is_loaded_is_no_scans_fault(shared: Supervisor) -> None:
    bad = shared.judge(Scan(networks=(FATAL,)))
    with pytest.raises(Broken, match="no_engine"):
        bad.future.result(SECONDS)
    assert value(shared.judge(Scan(greys=(3,)))) == ((3.0,),)


def test_a_network_that_dies_while_it_is_warmed_keeps_no_other_from_running(tmp_path: Path) -> None:
    with Supervisor(settings(tmp_path, decoders=1), STAGES, warm=(FATAL, CLASSIFIER)) as supervisor:
        assert value(supervisor.judge(Scan(greys=(4,)))) == ((4.0,),)


def test_decoders_that_cannot_start_are_no_scans_fault(tmp_path: Path) -> None:
    stages = Stages(flow="tests.worker.flows:nothing", context=STAGES.context, load=STAGES.load)
    with (
        Supervisor(settings(tmp_path, decoders=1), stages) as supervisor,
        pytest.raises(Broken, match="die while they start"),
    ):
        supervisor.judge(Scan()).future.result(SECONDS)


@pytest.mark.slow
def test_whatever_dies_when_no_scan_is_lost_and_no_slot(tmp_path: Path) -> None:
    chance = random.Random(20261125)
    both = (CLASSIFIER, SEGMENTER)
    with Supervisor(settings(tmp_path, decoders=3), STAGES) as supervisor:
        value(supervisor.judge(Scan()))
        scans = [
            Scan(greys=tuple(chance.choices(range(60), k=chance.choice((1, 3, 200)))), networks=both, seconds=0.002)
            for _ in range(400)
        ]
        tickets = [supervisor.judge(scan) for scan in scans]
        cancelled = set(chance.sample(range(len(scans)), 40))
        for number in cancelled:
            tickets[number].cancel()
        for _ in range(8):
            time.sleep(chance.uniform(0.1, 1.0))
            up = [
                seat.child for seat in supervisor._crew.seats if seat.ready
            ]  # what dies while it starts is another test
            up += [supervisor._device.child] if supervisor._device._ready else []
            child = chance.choice(up) if up else None
            if child is not None:
                child.kill()
        wait([ticket.future for number, ticket in enumerate(tickets) if number not in cancelled], SECONDS * 3)
        crashed = 0
        for number, (scan, ticket) in enumerate(zip(scans, tickets, strict=True)):
            if number in cancelled and ticket.future.cancelled():
                continue
            if ticket.future.exception(0) is not None:
                assert code(ticket) == Code.CRASHED
                crashed += 1
                continue
            told = tuple(float(grey) for grey in scan.greys)
            assert value(ticket) == (told, told)
        assert crashed <= 8, "only a scan that was alone when its process was killed may be crashed"
        assert_all_slots_are_free(supervisor)


# -- calls ---------------------------------------------------------------------------------------------------------


def test_a_call_returns_or_raises_what_its_function_does(shared: Supervisor) -> None:
    assert shared.call(double, 21, seconds=30.0) == 42
    with pytest.raises(Broken, match="so it is"):
        shared.call(refuse, seconds=30.0)


def test_a_call_that_hangs_or_dies_is_told_by_its_code(shared: Supervisor) -> None:
    with pytest.raises(ScanFailed) as error:
        shared.call(sleep, 3600, seconds=0.3)
    assert error.value.code == Code.TIMED_OUT
    with pytest.raises(ScanFailed) as error:
        shared.call(die, seconds=30.0)
    assert error.value.code == Code.CRASHED


def test_a_decoder_uses_one_core(shared: Supervisor) -> None:
    assert shared.call(threads, seconds=30.0) == 1


def test_scans_go_on_beside_a_call(shared: Supervisor) -> None:
    before = [shared.judge(Scan(greys=(grey,), seconds=0.01)) for grey in range(40)]
    assert shared.call(double, 4, seconds=30.0) == 8
    assert [value(ticket) for ticket in before] == [((float(grey),),) for grey in range(40)]


# -- cancelling and ending -----------------------------------------------------------------------------------------


def test_a_cancelled_scan_is_forgotten_wherever_it_is(shared: Supervisor) -> None:
    tickets = [shared.judge(Scan(greys=(1,) * 40, prepare_seconds=0.005)) for _ in range(30)]
    wait([tickets[0].future])
    for ticket in tickets[1:]:
        ticket.cancel()
    for ticket in tickets[1:]:
        if not ticket.future.cancelled():
            assert value(ticket) == ((1.0,) * 40,)
    assert tickets[-1].future.cancelled()
    assert_all_slots_are_free(shared)
    with pytest.raises(CancelledError):
        tickets[-1].future.result()
    assert value(shared.judge(Scan(greys=(8,)))) == ((8.0,),)


def test_closing_ends_all_children_and_tells_who_waits(tmp_path: Path) -> None:
    supervisor = Supervisor(settings(tmp_path), STAGES)
    supervisor.start()
    value(supervisor.judge(Scan()))
    waiting = supervisor.judge(Scan(seconds=30.0))
    decoders, network = supervisor.pids()
    supervisor.close()
    with pytest.raises(Unavailable):
        waiting.future.result(1.0)
    with pytest.raises(Unavailable):
        supervisor.judge(Scan())
    assert not any(psutil.pid_exists(pid) for pid in (*decoders, network) if pid is not None)


KILLED = """
import sys, time
from pathlib import Path
from tests.worker.flows import Scan
from tests.worker.test_supervisor import STAGES, settings
from worker.supervisor import Supervisor
if __name__ == "__main__":
    supervisor = Supervisor(settings(Path(sys.argv[1])), STAGES)
    supervisor.start()
    supervisor.judge(Scan()).future.result()
    supervisor.judge(Scan(seconds=3600.0))
    time.sleep(0.3)
    decoders, network = supervisor.pids()
    print(*decoders, network, flush=True)
    time.sleep(3600)
"""


def test_children_end_by_themselves_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(KILLED)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, str(program), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        children = [int(pid) for pid in process.stdout.readline().split()]
        assert len(children) == 3
        for pid in children:
            os.kill(pid, signal.SIGINT)
            os.kill(pid, signal.SIGTERM)
        time.sleep(0.2)
        assert all(psutil.pid_exists(pid) for pid in children), "signals of a terminal are the supervisor's"
        process.kill()
    wait_for(lambda: not any(_lives(pid) for pid in children))


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_supervisor_that_breaks_tells_all_who_wait(tmp_path: Path) -> None:
    def mistake(_: float) -> None:
        raise RuntimeError

    with Supervisor(settings(tmp_path, decoders=1), STAGES) as supervisor:
        value(supervisor.judge(Scan()))
        waiting = supervisor.judge(Scan(seconds=30.0))
        supervisor._events.put(mistake)
        with pytest.raises(Broken, match="the supervisor died"):
            waiting.future.result(SECONDS)
        with pytest.raises(Broken, match="the supervisor died"):
            supervisor.judge(Scan())
        assert supervisor.dead


def test_a_call_that_cannot_travel_is_the_callers_mistake(shared: Supervisor) -> None:
    with pytest.raises((AttributeError, pickle.PicklingError)):
        shared.call(lambda: 1, seconds=30.0)


def test_the_supervisor_loads_nothing_that_decodes_or_judges() -> None:
    heavy = ("tensorflow", "keras", "openvino", "cv2", "PIL", "pydicom", "nibabel")
    program = f"import sys, worker.supervisor, worker.shards; print([name for name in {heavy} if name in sys.modules])"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


def test_an_arena_that_does_not_fit_is_refused_at_start(tmp_path: Path) -> None:
    with pytest.raises(Broken, match="shm_size"):
        Supervisor(settings(tmp_path, arena=1 << 50), STAGES).start()


# -- the sign of life ----------------------------------------------------------------------------------------------


def test_the_pulse_says_whether_scans_move(tmp_path: Path) -> None:
    with Supervisor(settings(tmp_path, decoders=1), STAGES) as supervisor:
        value(supervisor.judge(Scan()))
        wait_for(lambda: any(pulse.done == 1 for pulse in pulses(tmp_path / "run")))
        pulse = pulses(tmp_path / "run")[0]
        assert moves(pulse, limit=1.0)
        assert not moves(pulse, limit=1.0, now=pulse.at + 31)
        stuck = supervisor.judge(Scan(seconds=30.0))
        wait_for(lambda: pulses(tmp_path / "run")[0].stuck > 0.5)
        assert not moves(pulses(tmp_path / "run")[0], limit=0.4)
        stuck.cancel()
    assert pulses(tmp_path / "run") == []
