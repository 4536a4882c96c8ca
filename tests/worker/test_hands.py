"""Hands that are free, and the consumer that wants to know."""

from typing import Any

from kombu.asynchronous.hub import Hub

from worker.hands import Hands, Waking

SECONDS = 30.0  # that the loop would sleep if nobody woke it


def test_a_hand_that_becomes_free_wakes_the_consumer() -> None:
    hub: Any = Hub()
    hands = Hands(1)
    hands.start()
    try:
        Waking(object()).register_with_event_loop(None, hub)
        for number, _ in hub.poller.poll(0.0):  # what a worker in this process may have left
            hub.readers[number][0]()
        for _ in range(2):  # it wakes again, after it was heard
            done = hands.apply_async(lambda: None)
            ((number, _event),) = hub.poller.poll(SECONDS)
            assert done.f.done()
            callback, arguments = hub.readers[number]
            callback(*arguments)
            assert hub.poller.poll(0.0) == []
    finally:
        hands.stop()
        hub.close()
