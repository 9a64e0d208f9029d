"""How a campaign is asked to stop: softly by Ctrl-C or SIGTERM, at once by a second Ctrl-C."""

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """Whether a stop was asked for: `with StopRequest(tell) as stop: ...`.

    While the body runs, the first Ctrl-C or SIGTERM (which batch systems send some time before they kill) sets
    `requested`; a second Ctrl-C raises KeyboardInterrupt. Outside the main thread, where signals cannot be caught,
    nothing is ever requested but by `ask`.

    Args:
        tell: gets the line that tells the user what happens now.
    """

    def __init__(self, tell: Callable[[str], None] = lambda line: None) -> None:
        self.requested = False
        self._tell = tell
        self._kept: dict[signal.Signals, Any] = {}

    def ask(self) -> None:
        """Ask for a soft stop."""
        self.requested = True

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        if not self.requested:
            self.requested = True
            again = "; Ctrl-C again stops at once" if number == signal.SIGINT else ""
            self._tell(f"asked to stop: what runs is finished, judged and reported{again}")

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._kept = {number: signal.signal(number, self._on_signal) for number in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._kept.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
