"""Who works for which result, so that the same scan handed over twice is judged once.

Touched by the supervisor's own thread only. A claim is a courtesy: should two tasks work for one result all the same,
as those of two workers may, both come to the same bytes.
"""

from worker.tickets import Task


class Claims:
    """The tasks that work for results, and those that wait for them, by the results' keys."""

    def __init__(self) -> None:
        self._tasks: dict[str, list[Task]] = {}  # the first works, the others wait
        self._keys: dict[Task, str] = {}

    def take(self, key: str, task: Task) -> bool:
        """Whether the task may go on; else it waits until `leave` tells it."""
        tasks = self._tasks.setdefault(key, [])
        tasks.append(task)
        self._keys[task] = key
        return len(tasks) == 1

    def leave(self, task: Task, *, stands: bool) -> tuple[Task, ...]:
        """A task works or waits no more. Those that go on: one in its place, or all where its result stands."""
        key = self._keys.pop(task, None)
        if key is None:
            return ()
        tasks = self._tasks[key]
        first = tasks[0] is task
        tasks.remove(task)
        freed = tuple(tasks) if first and stands else tuple(tasks[:1]) if first else ()
        if first and stands:
            for each in tasks:
                del self._keys[each]
            tasks.clear()
        if not tasks:
            del self._tasks[key]
        return freed
