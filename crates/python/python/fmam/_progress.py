"""Progress of long calls: a bar of tqdm where it is installed, else lines on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Callable, Optional, Union

#: Called as ``listener(stage, done, total, detail)``; ``total`` is 0 where it is not known.
Listener = Callable[[str, int, int, str], None]

#: ``True`` for a bar, ``False`` or ``None`` for nothing, or a function of one's own.
Progress = Union[bool, None, Listener]


class _Bars:
    """A bar of tqdm for each stage, in a notebook or a terminal."""

    def __init__(self, tqdm: Any) -> None:
        self._tqdm = tqdm
        self._bar: Any = None
        self._stage: Optional[str] = None

    def __call__(self, stage: str, done: int, total: int, detail: str) -> None:
        if self._bar is None or stage != self._stage or done < self._bar.n:
            self.close()
            self._bar, self._stage = self._tqdm(total=total or None, desc=stage), stage
        if detail:
            self._bar.set_postfix_str(detail, refresh=False)
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class _Lines:
    """A line on stderr at the begin of a stage, and then every few seconds."""

    def __init__(self, seconds: float = 5.0) -> None:
        self._seconds = seconds
        self._stage: Optional[str] = None
        self._told = 0.0

    def __call__(self, stage: str, done: int, total: int, detail: str) -> None:
        now = time.monotonic()
        if stage == self._stage and now - self._told < self._seconds and done != total:
            return
        self._stage, self._told = stage, now
        of = f"{done}/{total}" if total else str(done)
        print(f"{stage}: {of} {detail}".rstrip(), file=sys.stderr, flush=True)

    def close(self) -> None:
        pass


@contextmanager
def listening(progress: Progress) -> Iterator[Optional[Listener]]:
    """The listener for the compiled module, closed at the end."""
    if progress is None or progress is False:
        yield None
    elif progress is True:
        try:
            from tqdm.auto import tqdm  # type: ignore[import-untyped]
        except ImportError:
            bars: Union[_Bars, _Lines] = _Lines()
        else:
            bars = _Bars(tqdm)
        try:
            yield bars
        finally:
            bars.close()
    elif callable(progress):
        yield progress
    else:
        raise TypeError(f"progress is True, False, None or a function, not {progress!r}")
