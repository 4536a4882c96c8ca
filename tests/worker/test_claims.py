"""Whoever works for a result, all who wait for it go on, whatever becomes of the others."""

from concurrent.futures import Future

from hypothesis import given
from hypothesis import strategies as st

from worker.claims import Claims
from worker.messages import Start
from worker.tickets import Task


def task(number: int) -> Task:
    return Task(number=number, order=lambda n: Start(task=n, job=None), future=Future(), seconds=1.0, alone=False)


def test_the_first_goes_on_and_the_others_when_its_result_stands() -> None:
    claims, (first, second, third) = Claims(), [task(n) for n in range(3)]
    assert [claims.take("key", each) for each in (first, second, third)] == [True, False, False]
    assert claims.take("another", task(3))
    assert claims.leave(first, stands=True) == (second, third)
    assert claims.take("key", task(4)), "those who look for a result that stands hold nobody up"


def test_where_the_first_failed_one_other_goes_on() -> None:
    claims, (first, second, third) = Claims(), [task(n) for n in range(3)]
    assert [claims.take("key", each) for each in (first, second, third)] == [True, False, False]
    assert claims.leave(first, stands=False) == (second,)
    assert claims.leave(third, stands=False) == (), "it waited and was cancelled"
    assert claims.leave(second, stands=False) == ()
    assert claims.take("key", task(3))


@given(
    taken=st.lists(st.sampled_from("ab"), max_size=12),
    leaving=st.lists(st.tuples(st.integers(0, 11), st.booleans()), max_size=12),
)
def test_nobody_waits_for_ever(taken: list[str], leaving: list[tuple[int, bool]]) -> None:
    claims = Claims()
    tasks = [task(number) for number in range(len(taken))]
    going = {each for key, each in zip(taken, tasks, strict=True) if claims.take(key, each)}
    gone: set[Task] = set()
    for index, stands in leaving:
        if index < len(tasks) and tasks[index] not in gone:
            gone.add(tasks[index])
            going |= set(claims.leave(tasks[index], stands=stands))
    while waiting := [each for each in tasks if each not in going | gone]:
        working = [each for each in tasks if each in going - gone]
        assert working, f"{len(waiting)} wait for nobody"
        gone.add(working[0])
        going |= set(claims.leave(working[0], stands=False))
