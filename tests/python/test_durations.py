"""Spans of time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reeve import InvalidError
from reeve._durations import SPAN_MS_MAX, show_ms, to_ms, to_unix_ms


@pytest.mark.parametrize(
    ("value", "ms"),
    [
        (0, 0),
        (1, 1000),
        (0.25, 250),
        (0.0001, 1),  # rounded up: a tiny span is not nothing
        (timedelta(minutes=2), 120_000),
        (timedelta(microseconds=1), 1),
        ("90s", 90_000),
        ("500ms", 500),
        ("10m", 600_000),
        ("2h", 7_200_000),
        ("1d", 86_400_000),
        ("1w", 604_800_000),
        ("1h30m", 5_400_000),
        (" 1h 30m ", 5_400_000),
        ("1.5h", 5_400_000),
        ("3650d", 3650 * 86_400_000),
    ],
)
def test_means(value: float | timedelta | str, ms: int) -> None:
    assert to_ms(value, "delay") == ms


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (-1, InvalidError, "must not be negative"),
        (timedelta(seconds=-1), InvalidError, "must not be negative"),
        (float("nan"), InvalidError, "finite"),
        (float("inf"), InvalidError, "finite"),
        (1e12, InvalidError, "ten years"),
        ("", InvalidError, "number and a unit"),
        ("90", InvalidError, "number and a unit"),
        ("s", InvalidError, "number and a unit"),
        ("-5s", InvalidError, "number and a unit"),
        ("5 parsecs", InvalidError, "number and a unit"),
        ("5s extra", InvalidError, "number and a unit"),
        ("٥s", InvalidError, "number and a unit"),
        (True, TypeError, "not bool"),
        (None, TypeError, "not NoneType"),
        ([5], TypeError, "not list"),
    ],
)
def test_refuses(value: object, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text) as caught:
        to_ms(value, "delay")  # type: ignore[arg-type]
    assert "delay" in str(caught.value)


def test_least() -> None:
    with pytest.raises(InvalidError, match="less than 1 ms"):
        to_ms(0, "timeout", least_ms=1)


@given(st.integers(1, SPAN_MS_MAX))
def test_shown_text_means_the_same(ms: int) -> None:
    assert to_ms(show_ms(ms), "span") == ms


@given(st.integers(0, SPAN_MS_MAX))
def test_forms_agree(ms: int) -> None:
    assert to_ms(timedelta(milliseconds=ms), "span") == ms == to_ms(f"{ms}ms", "span")


def test_moments() -> None:
    assert to_unix_ms(datetime(2026, 1, 1, tzinfo=UTC), "at") == 1_767_225_600_000
    with pytest.raises(InvalidError, match="without a time zone"):
        to_unix_ms(datetime(2026, 1, 1), "at")
    with pytest.raises(InvalidError, match="after 1970"):
        to_unix_ms(datetime(1960, 1, 1, tzinfo=UTC), "at")
    with pytest.raises(TypeError, match="must be a datetime"):
        to_unix_ms("tomorrow", "at")  # type: ignore[arg-type]
