"""How a failed run is retried, and what a handler may raise to say something else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from reeve._durations import Duration, shown, to_ms
from reeve._errors import InvalidError

Backoff = Literal["exponential", "fixed", "linear"]
Jitter = Literal["full", "equal", "none"]

#: What the core takes: backoff, jitter, max_attempts, base, cap, factor, max_elapsed, delays.
CoreRetry = tuple[int, int, int, int, int, float, int, tuple[int, ...]]

_BACKOFFS: Final = {"exponential": 1, "fixed": 2, "linear": 3}
_JITTERS: Final = {"full": 1, "equal": 2, "none": 3}
_LIST: Final = 4


class Signal(Exception):
    """Base of what a handler raises to decide the outcome itself."""


class RetryLater(Signal):
    """Failed: run again after ``delay`` (None = by the task's policy). Burns an attempt."""

    def __init__(self, message: str = "retry later", *, delay: Duration | None = None) -> None:
        super().__init__(message)
        self.delay_ms = 0 if delay is None else to_ms(delay, "delay", least_ms=1)


class Snooze(Signal):
    """Not now: run again after ``delay``. Burns no attempt."""

    def __init__(self, delay: Duration, message: str = "snoozed") -> None:
        super().__init__(message)
        self.delay_ms = to_ms(delay, "delay", least_ms=1)


class Fatal(Signal):
    """Failed for good: to the dead letter at once, whatever the retry policy says."""

    def __init__(self, message: str = "fatal") -> None:
        super().__init__(message)


class Skip(Signal):
    """Nothing to do: the job is dropped; it is neither a failure nor kept as completed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """Retry policy.

    ``max_attempts`` counts every run, the first one too (None = no limit). The wait before run
    n + 1 is ``base * factor ** (n - 1)`` at most ``cap`` (exponential), ``base * n`` (linear),
    ``base`` (fixed), or ``delays[n - 1]`` when a list is given. ``on`` and ``never`` are exception
    classes: what is not in ``on``, or is in ``never``, goes to the dead letter at once.
    """

    max_attempts: int | None = 26
    backoff: Backoff = "exponential"
    base: Duration = 1.0
    factor: float = 2.0
    cap: Duration = 3600.0
    jitter: Jitter | None = None
    max_elapsed: Duration | None = None
    delays: Sequence[Duration] | None = None
    on: tuple[type[BaseException], ...] = (Exception,)
    never: tuple[type[BaseException], ...] = ()

    def __post_init__(self) -> None:
        for name in ("on", "never"):
            classes = getattr(self, name)
            if isinstance(classes, type):
                classes = (classes,)
                object.__setattr__(self, name, classes)
            if not isinstance(classes, tuple) or not all(
                isinstance(c, type) and issubclass(c, BaseException) for c in classes
            ):
                raise TypeError(f"{name} must be a tuple of exception classes")
        self.to_core()

    def to_core(self) -> CoreRetry:
        """The policy as the core takes it; raises when a value is out of its bounds."""
        attempts = self.max_attempts
        if attempts is not None and (isinstance(attempts, bool) or not isinstance(attempts, int)):
            raise TypeError("max_attempts must be an integer or None")
        if attempts is not None and not 1 <= attempts <= 1_000_000:
            raise InvalidError(f"max_attempts is {attempts}; it must be 1 to 1000000, or None")
        if not isinstance(self.backoff, str) or self.backoff not in _BACKOFFS:
            raise InvalidError(f"backoff is {shown(self.backoff)}; one of {', '.join(_BACKOFFS)}")
        if self.jitter is not None and (
            not isinstance(self.jitter, str) or self.jitter not in _JITTERS
        ):
            raise InvalidError(f"jitter is {shown(self.jitter)}; one of {', '.join(_JITTERS)}")
        if not isinstance(self.factor, (int, float)) or not 1 <= self.factor <= 100:
            raise InvalidError(f"factor is {shown(self.factor)}; it must be 1 to 100")
        delays: tuple[int, ...] = ()
        if self.delays is not None:
            if not isinstance(self.delays, Iterable) or isinstance(self.delays, str):
                raise TypeError(f"delays must be a list of spans, not {shown(self.delays)}")
            delays = tuple(to_ms(d, f"delays[{i}]") for i, d in enumerate(self.delays))
            if not 1 <= len(delays) <= 32:
                raise InvalidError(f"delays has {len(delays)} entries; it must have 1 to 32")
        return (
            _LIST if delays else _BACKOFFS[self.backoff],
            0 if self.jitter is None else _JITTERS[self.jitter],
            -1 if attempts is None else attempts,
            to_ms(self.base, "base", least_ms=1),
            to_ms(self.cap, "cap", least_ms=1),
            float(self.factor),
            0 if self.max_elapsed is None else to_ms(self.max_elapsed, "max_elapsed", least_ms=1),
            delays,
        )

    def allows(self, error: BaseException) -> bool:
        """Whether this exception may be retried at all."""
        return isinstance(error, self.on) and not isinstance(error, self.never)

    @staticmethod
    def later(message: str = "retry later", *, delay: Duration | None = None) -> RetryLater:
        """``raise Retry.later("busy", delay=30)``: retry with a delay of its own."""
        return RetryLater(message, delay=delay)


def retry_of(value: Retry | int | None) -> Retry | None:
    """A policy from what people write: an int is the number of retries after the first run."""
    if value is None or isinstance(value, Retry):
        return value
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"retry must be a Retry or an integer, not {type(value).__name__}")
    if value < 0:
        raise InvalidError(f"retry is {value}; it must not be negative")
    return Retry(max_attempts=value + 1)
