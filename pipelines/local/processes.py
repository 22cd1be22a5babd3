"""Interruption of a run on this machine, and the end of the processes that it started."""

import contextlib
import signal
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

import psutil

_KILL_SECONDS = 10


@contextlib.contextmanager
def interruptible(
    before: Callable[[], None] = lambda: None, signals: Sequence[signal.Signals] = (signal.SIGTERM,)
) -> Iterator[None]:
    """Treat SIGTERM, or the given signals, as an interruption inside the block, and call `before` first."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        before()
        raise KeyboardInterrupt

    previous = {number: signal.signal(number, interrupt) for number in signals}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def own_processes() -> Iterator[None]:
    """Treat SIGTERM as an interruption, and end every process that the block started.

    They end as soon as the signal comes, since threads of the block that wait for them would delay the interruption.
    """
    earlier = set(psutil.Process().children(recursive=True))

    def end() -> None:
        started = [process for process in psutil.Process().children(recursive=True) if process not in earlier]
        for process in started:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(started, timeout=_KILL_SECONDS)

    with interruptible(end):
        try:
            yield
        finally:
            end()
