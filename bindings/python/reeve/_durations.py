"""Spans of time as people write them: seconds, ``timedelta``, ``"90s"``, ``"1h30m"``."""

from __future__ import annotations

import math
import re
from datetime import datetime, timedelta
from typing import TypeAlias

from reeve._errors import InvalidError

#: Seconds, a ``timedelta``, or text such as ``"500ms"``, ``"90s"``, ``"10m"``, ``"2h"``, ``"1d"``.
Duration: TypeAlias = float | timedelta | str

#: The longest span the core takes: ten years.
SPAN_MS_MAX = 10 * 366 * 24 * 3600 * 1000

_PART = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)", re.ASCII)
_UNIT_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}


def _text_ms(text: str, what: str) -> float:
    total = 0.0
    at = 0
    end = len(text.rstrip())
    while at < end:
        part = _PART.match(text, at)
        if part is None:
            break
        total += float(part[1]) * _UNIT_MS[part[2]]
        at = part.end()
    if at < end or end == 0:
        raise InvalidError(
            f'{what} is {shown(text)}; write a number and a unit, as "90s", "10m", "2h"'
        )
    return total


def shown(value: object) -> str:
    """A wrong value in a message, however long it is."""
    if isinstance(value, int) and abs(value) > 10**30:
        return f"an integer of {value.bit_length()} bits"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


def to_ms(value: Duration, what: str, *, least_ms: int = 0) -> int:
    """Milliseconds, rounded up so that a tiny span is never nothing.

    Raises InvalidError (bad text, negative, too long) or TypeError, naming ``what``.
    """
    ms: float
    if isinstance(value, bool):
        raise TypeError(f"{what} must be seconds, a timedelta or text, not bool")
    if isinstance(value, timedelta):
        ms = value / timedelta(milliseconds=1)
    elif isinstance(value, (int, float)):
        is_far = isinstance(value, int) and abs(value) > SPAN_MS_MAX  # perhaps too far for a float
        ms = (SPAN_MS_MAX + 1 if value > 0 else -1) if is_far else value * 1000
    elif isinstance(value, str):
        ms = _text_ms(value, what)
    else:
        raise TypeError(f"{what} must be seconds, a timedelta or text, not {type(value).__name__}")
    if not math.isfinite(ms):
        raise InvalidError(f"{what} is {shown(value)}; it must be finite")
    if ms < least_ms:
        bound = "negative" if least_ms == 0 else f"less than {least_ms} ms"
        raise InvalidError(f"{what} is {shown(value)}; it must not be {bound}")
    if ms > SPAN_MS_MAX:
        raise InvalidError(f"{what} is {shown(value)}; the longest span is ten years")
    return math.ceil(round(ms, 3))


def to_unix_ms(value: datetime, what: str) -> int:
    """Unix milliseconds of an aware datetime. A naive one is refused: its zone is a guess."""
    if not isinstance(value, datetime):
        raise TypeError(f"{what} must be a datetime, not {type(value).__name__}")
    if value.tzinfo is None:
        raise InvalidError(f"{what} is {value.isoformat()} without a time zone; make it aware")
    ms = round(value.timestamp() * 1000)
    if ms <= 0:
        raise InvalidError(f"{what} is {value.isoformat()}; it must be after 1970")
    return ms


def show_ms(ms: int) -> str:
    """``5400000`` → ``"1h30m"``; for messages."""
    if ms <= 0:
        return "0s"
    parts: list[str] = []
    for unit in ("d", "h", "m", "s", "ms"):
        size = _UNIT_MS[unit]
        if ms >= size:
            parts.append(f"{ms // size}{unit}")
            ms %= size
    return "".join(parts)
