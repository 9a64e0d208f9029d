"""Stopping a campaign: gracefully by Ctrl-C or SIGTERM, at once by a second Ctrl-C."""

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """Whether a stop was requested: `with StopRequest(notify) as stop: ...`.

    While the body runs, the first Ctrl-C or SIGTERM (which batch systems send before they kill a job) sets `requested`;
    a second Ctrl-C raises KeyboardInterrupt. Outside the main thread signals cannot be caught, and only `ask` requests
    a stop.

    Args:
        notify: called with a message for the user on the first signal.
    """

    def __init__(self, notify: Callable[[str], None] = lambda line: None) -> None:
        self.requested = False
        self._notify = notify
        self._kept: dict[signal.Signals, Any] = {}

    def ask(self) -> None:
        """Request a graceful stop."""
        self.requested = True

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        if not self.requested:
            self.requested = True
            again = "; Ctrl-C again stops at once" if number == signal.SIGINT else ""
            self._notify(f"stopping: running work is finished, assessed and reported{again}")

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._kept = {number: signal.signal(number, self._on_signal) for number in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._kept.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
