"""How many threads linear algebra uses: BLAS and OpenMP (threadpoolctl), and torch.

Models are fitted by many small matrix products, in which threads spend most of the time waiting for each other, the
more so if other programs use the cores, as solves beside a training do. The variable OMP_NUM_THREADS cannot limit them:
it is read when a library is loaded, and it belongs to the user.

torch is limited where it is loaded. A solve does not load it, which would take seconds and memory.
"""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from threadpoolctl import ThreadpoolController


@dataclass(frozen=True, eq=False)
class _Limit:
    """A limit that holds, and the thread of the program that asked for it."""

    n: int
    thread: int


class _Process:
    """The limits that hold in this process, and the settings before the first of them.

    OpenMP and torch have one number for each thread of the program, BLAS has one for the process. A limit that begins
    while that of another thread holds finds that one's number, and must not leave it behind. So the last limit to end
    restores what the first one found.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._limits: list[_Limit] = []
        self._before: Any = None  # threadpoolctl's record of the settings
        self._torch_before: int | None = None
        self._controller: ThreadpoolController | None = None
        self._n_modules = 0

    def _libraries(self) -> ThreadpoolController:
        """The libraries that are loaded.

        To find them takes a millisecond, which a prediction would feel: they are sought again where Python has imported
        something since.
        """
        n_modules = len(sys.modules)
        if self._controller is None or n_modules != self._n_modules:
            self._controller, self._n_modules = ThreadpoolController(), n_modules
        return self._controller

    def of_thread(self, thread: int) -> int | None:
        """The limit that a thread of the program asked for last."""
        return next((limit.n for limit in reversed(self._limits) if limit.thread == thread), None)

    @contextmanager
    def limited(self, limit: _Limit) -> Iterator[None]:
        """Apply a limit in the body."""
        with self._lock:
            libraries = self._libraries()
            if not self._limits:
                self._before, self._torch_before = libraries.limit(limits=None), _threads_of_torch()
            self._limits.append(limit)
        try:
            with libraries.limit(limits=limit.n):
                _limit_torch(limit.n)
                yield
        finally:
            with self._lock:
                self._limits.remove(limit)
                if not self._limits:
                    with self._before:
                        pass  # leaving it restores the settings
                _limit_torch(self.of_thread(limit.thread) or self._torch_before)


_process = _Process()


def _threads_of_torch() -> int | None:
    """How many threads torch uses; None where it is not loaded."""
    torch = sys.modules.get("torch")
    return None if torch is None else int(torch.get_num_threads())


def _limit_torch(n: int | None) -> None:
    """Let torch use `n` threads if it is loaded; None: leave it as it is."""
    torch = sys.modules.get("torch")
    if torch is not None and n is not None and torch.get_num_threads() != n:
        torch.set_num_threads(n)


@contextmanager
def limited_threads(n: int | None = None) -> Iterator[None]:
    """Use at most `n` threads in the body, whatever the environment says; afterwards the settings are as before.

    It also decorates functions.

    Args:
        n: number of threads; by default that of the limit around this one, or 1 where there is none.

    Raises:
        ValueError: `n` is less than 1.
    """
    if n is not None and n < 1:
        raise ValueError(f"{n} threads given; at least 1 is needed")
    thread = threading.get_ident()
    held = _process.of_thread(thread)
    wanted = n or held or 1
    if wanted == held:
        _limit_torch(wanted)  # it may have been loaded since
        yield
        return
    with _process.limited(_Limit(wanted, thread)):
        yield
