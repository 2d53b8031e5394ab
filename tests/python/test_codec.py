"""JSON both ways, with orjson and without."""

from __future__ import annotations

import contextlib
import enum
import importlib
import importlib.util
import json
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal, NamedTuple, NewType, Optional, TypedDict

import attrs
import msgspec
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reeve import EncodeError, _codec, _core


class Colour(enum.Enum):
    RED = "red"
    PAIR = (1, 2)


class Level(enum.IntEnum):
    LOW = 1


@dataclass
class Point:
    x: int
    y: float = 0.0


@dataclass
class Shape:
    name: str
    points: list[Point]
    when: datetime | None = None
    children: list[Shape] = field(default_factory=list)


class Pair(NamedTuple):
    left: int
    right: Decimal


class Options(TypedDict, total=False):
    deadline: datetime
    tags: list[str]


class Model(pydantic.BaseModel):
    when: datetime
    size: int = 3


@attrs.define
class Attrs:
    id: uuid.UUID
    n: int = 1


class Struct(msgspec.Struct):
    when: date
    name: str = ""


UserId = NewType("UserId", uuid.UUID)
ID = uuid.UUID(int=5)
NOW = datetime(2026, 11, 20, 12, 30, 15, 123456, tzinfo=UTC)


@pytest.fixture(params=["orjson", "json"])
def codec(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module with orjson, and as it is where orjson is not installed."""
    if request.param == "json":
        monkeypatch.setitem(sys.modules, "orjson", None)
    else:
        pytest.importorskip("orjson")
    yield importlib.reload(_codec)
    monkeypatch.undo()
    importlib.reload(_codec)


@pytest.fixture(scope="module")
def both() -> tuple[ModuleType, ModuleType]:
    """The module with orjson and the one without, side by side."""
    pytest.importorskip("orjson")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "orjson", None)
        spec = importlib.util.spec_from_file_location("codec_without", str(_codec.__file__))
        assert spec is not None
        assert spec.loader is not None
        without = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(without)
    assert without.orjson is None
    return _codec, without


def outcome(call: Any, value: object) -> object:
    """What it gives, or that it refuses."""
    try:
        return call(value)
    except ValueError:
        return "refused"


def nested(levels: int) -> list[Any]:
    inner: list[Any] = []
    for _ in range(levels - 1):
        inner = [inner]
    return inner


class Word(str):
    __slots__ = ()


@pytest.mark.parametrize(
    "value",
    [
        1e-7, 0.00001, 0.0001, 1e16, 1.5e300, 5e-324, -0.0, 123456789012345680.0, "1e-7", 2**63,
        2**64, 10**25,
        -(2**63) - 1, float("nan"), [None, float("inf")], {"a": None, "b": [float("nan")]},
        {"a": None, "b": "x"}, Word("x"), {Word("k"): 1}, Colour.PAIR, Level.LOW, {1: 2, None: 3},
        {1.5: 1, True: 2}, {1e-7: 1}, {(1,): 1}, "\ud800", "\u2028\x00\x7f\U0001d4b3", b"x", (1, 2),
        nested(200), nested(201), nested(254), nested(255), nested(900), nested(5000),
        Point(1, 1e-9), Point(1, float("nan")), Decimal("1.10"), NOW, {NOW.date(): 1}, object(),
    ],
    ids=lambda value: repr(value)[:30] if not isinstance(value, list) else f"list {len(value)}",
)  # fmt: skip
def test_orjson_is_not_noticed_when_writing(
    both: tuple[ModuleType, ModuleType], value: object
) -> None:
    fast, without = both
    assert outcome(fast.dumps, value) == outcome(without.dumps, value)


@pytest.mark.parametrize(
    "data",
    [
        b"1e400", b"-1e400", b"1" * 400 + b".0", b"1e5", b"1E5", b"-0", b"-0.0", b"01", b"1.",
        b"9223372036854775808", b"18446744073709551616", b"-9223372036854775809", b"1" * 5000,
        b"1.2345678901234567890123", b'"\\ud800"', b'"\\uD800\\uDC00"', b'"\\udc00 \\ud800"',
        b'"\xed\xa0\x80"', b"\xef\xbb\xbf1", b"\xff", b'"\x01"', b'"\\x"', b'"\\', b'"\\u', b'"',
        b"NaN", b"Infinity", b"", b" 1\n", b"\x0c1", b"\xa01", b'{"a":1,"a":2}', b"[1,]", b"{1:2}",
        '"a"'.encode("utf-16"), b"[" * 200 + b"]" * 200, b"[" * 201 + b"]" * 201,
        b'{"a":' * 201 + b"1" + b"}" * 201, b"[" * 100_000,
    ],
    ids=lambda data: str(data[:20]),
)  # fmt: skip
def test_orjson_is_not_noticed_when_reading(
    both: tuple[ModuleType, ModuleType], data: bytes
) -> None:
    fast, without = both
    found, other = outcome(fast.loads, data), outcome(without.loads, data)
    assert (type(found), found) == (type(other), other)


def test_what_json_text_holds() -> None:
    long, exponent = _core.JSON_LONG, _core.JSON_EXPONENT
    null, deep, surrogate = _core.JSON_NULL, _core.JSON_DEEP, _core.JSON_SURROGATE
    for data, traits in (
        (b"", 0),
        (b'{"null":"1e5 1234567890123456789 [[","a":true}', 0),
        (b"[123456789012345678,1]", 0),
        (b"[1234567890123456789]", long),
        (b"[1e5]", exponent),
        (b"[0.00005]", exponent),
        (b"[0.0005,1000.5]", 0),
        (b"0.0000", exponent),
        (b"0.000", 0),
        (b"[false,true]", 0),
        (b"[null]", null),
        (b'"\\ud8"', surrogate),
        (b'"\\\\ud8"', 0),
        (b'"\\"null\\""', 0),
        (b'"open null', 0),
        (b'"\\', 0),
        (b"[" * 200, 0),
        (b"[" * 201, deep),
        (b"[]" * 300, 0),
    ):
        assert _core.json_traits(data) == traits, data


CASES: list[tuple[Any, Any]] = [
    (int, 5),
    (int, 2**63 - 1),
    (int, -(2**63)),
    (int, 2**100),
    (float, 0.1),
    (str, "naïve \U0001f600 \u2028"),
    (bool, True),
    (None, None),
    (bytes, b"\x00\xff"),
    (bytearray, bytearray(b"ab")),
    (datetime, NOW),
    (datetime, datetime(2026, 1, 1)),
    (date, date(2026, 2, 3)),
    (time, time(1, 2, 3)),
    (timedelta, timedelta(days=1, milliseconds=5)),
    (Decimal, Decimal("1.10")),
    (uuid.UUID, ID),
    (Path, Path("/tmp/x")),
    (Colour, Colour.RED),
    (Colour, Colour.PAIR),
    (Level, Level.LOW),
    (list[date], [date(2026, 1, 1)]),
    (tuple[int, date], (1, date(2026, 1, 1))),
    (tuple[Decimal, ...], (Decimal(1), Decimal(2))),
    (tuple, (1, 2)),
    (set[int], {1, 2}),
    (frozenset[str], frozenset({"a"})),
    (dict[str, Decimal], {"a": Decimal(1)}),
    (dict[int, str], {1: "a"}),
    (dict[uuid.UUID, int], {ID: 1}),
    (dict[date, int], {date(2026, 1, 1): 1}),
    (Optional[date], None),  # noqa: UP045
    (Optional[date], date(2026, 1, 1)),  # noqa: UP045
    (date | int, 5),
    (str | date, date(2026, 1, 1)),
    (Literal["a", "b"], "a"),
    (Literal["a"] | None, None),
    (Annotated[date, {"un": "hashable"}], date(2026, 1, 1)),
    (UserId, UserId(ID)),
    (Point, Point(1, 2.5)),
    (Shape, Shape("s", [Point(1)], NOW, [Shape("t", [])])),
    (Pair, Pair(1, Decimal("2.5"))),
    (Options, {"deadline": NOW}),
    (Model, Model(when=NOW)),
    (Attrs, Attrs(ID)),
    (Struct, Struct(date(2026, 1, 1), "x")),
    (list[Model], [Model(when=NOW, size=4)]),
    (Any, {"a": [1, None, "x"]}),
]


@pytest.mark.parametrize(("annotation", "value"), CASES, ids=lambda v: str(v)[:40])
def test_there_and_back(codec: ModuleType, annotation: Any, value: Any) -> None:
    data = codec.dumps(value)
    decode = codec.decoder(annotation)
    back = codec.loads(data)
    result = back if decode is None else decode(back)
    assert result == value
    assert type(result) is type(value)
    json.loads(data)  # any other program can read it


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        [1, {"a": float("-inf")}],
        Point(1, float("nan")),
        object(),
        {object(): 1},
        "\ud800",
        lambda: None,
        [1, {2, 3}, complex(1)],
    ],
    ids=str,
)
def test_refuses(codec: ModuleType, value: object) -> None:
    with pytest.raises(codec.EncodeError):
        codec.dumps(value)


def test_refuses_what_contains_itself(codec: ModuleType) -> None:
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(codec.EncodeError):
        codec.dumps(loop)


@pytest.mark.parametrize(
    ("annotation", "data"),
    [
        (datetime, "tomorrow"),
        (datetime, 5),
        (date, "2026-13-01"),
        (uuid.UUID, "x"),
        (Decimal, "abc"),
        (bytes, "?"),
        (timedelta, "1h"),
        (timedelta, True),
        (Colour, "green"),
        (list[date], "2026-01-01"),
        (tuple[int, int], [1]),
        (dict[str, date], []),
        (dict[int, date], {"x": "2026-01-01"}),
        (date | None, "x"),
        (Point, {"y": 1}),
        (Point, {"x": 1, "z": 1}),
        (Point, 5),
        (Shape, {"name": "a", "points": [{"x": 1}], "when": "x"}),
        (Model, {"when": "x"}),
        (Struct, {"when": "x"}),
        (Attrs, {"id": "x"}),
        (Path, 5),
    ],
    ids=str,
)
def test_decoding_says_what_does_not_fit(annotation: Any, data: Any) -> None:
    decode = _codec.decoder(annotation)
    assert decode is not None
    with pytest.raises(_codec.DecodeError):
        decode(data)


@pytest.mark.parametrize("data", [b"", b"{", b"[1,]", b"NaN", b'{"a":Infinity}', b"\xff", b"1 2"])
def test_bad_json(codec: ModuleType, data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        codec.loads(data)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner)
    ),
    max_leaves=20,
)


@given(json_values)
@settings(deadline=None)
def test_any_json_survives(value: object) -> None:
    assert _codec.loads(_codec.dumps(value)) == value


@given(st.floats())
@settings(deadline=None)
def test_floats_survive_or_are_refused(value: float) -> None:
    try:
        data = _codec.dumps({"v": [value, None]})
    except EncodeError:
        assert value != value or value in (float("inf"), float("-inf"))
    else:
        assert _codec.loads(data) == {"v": [value, None]}


@given(json_values)
@settings(max_examples=200)
def test_both_ways_are_the_same_with_orjson(
    both: tuple[ModuleType, ModuleType], value: object
) -> None:
    fast, without = both
    data = outcome(fast.dumps, value)
    assert data == outcome(without.dumps, value)
    if isinstance(data, bytes):
        assert fast.loads(data) == without.loads(data)


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_any_bytes_load_or_raise(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        _codec.loads(data)
