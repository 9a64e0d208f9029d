"""Requests to stop: graceful the first time, at once the second time; signal handlers are restored afterwards."""

import os
import signal
import threading

import pytest

from mlasdi.agent.campaign.interrupts import StopRequest


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_only_asks(number: signal.Signals) -> None:
    told: list[str] = []
    with StopRequest(told.append) as stop:
        assert not stop.requested
        os.kill(os.getpid(), number)
        assert stop.requested
    assert len(told) == 1
    assert ("Ctrl-C again" in told[0]) == (number == signal.SIGINT)


def test_a_second_interrupt_stops_at_once_and_a_second_sigterm_does_not() -> None:
    told: list[str] = []
    with StopRequest(told.append):
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert len(told) == 1


def test_handlers_are_put_back() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with StopRequest():
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] != before
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_outside_the_main_thread_only_a_call_asks() -> None:
    """A notebook or a service may run a campaign from a thread, where Python allows no handlers."""
    seen: list[bool] = []

    def body() -> None:
        with StopRequest() as stop:
            seen.append(stop.requested)
            stop.ask()
            seen.append(stop.requested)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert seen == [False, True]
