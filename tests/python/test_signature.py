"""Arguments to payload and back, by the handler's signature."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reeve import Context, CorruptData, InvalidError, PayloadMismatch, UsageError
from reeve._signature import Arguments

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
plain = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | text
names = st.from_regex(r"[a-z]{1,8}", fullmatch=True).filter(lambda s: s not in ("a", "b", "c"))


def echo_plain(a: Any, b: Any = 2, *, c: Any = 3) -> Any:
    return (a, b, c)


def echo_all(a: Any, /, b: Any = 2, *rest: Any, c: Any = 3, **more: Any) -> Any:
    return (a, b, rest, c, more)


def echo_typed(
    day: date, ids: tuple[uuid.UUID, ...] = (), *, raw: bytes = b"", **more: date
) -> Any:
    return (day, ids, raw, more)


def through(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What the handler gets when the call goes through the queue."""
    arguments = Arguments(fn, "t")
    payload = arguments.encode(arguments.bind(*args, **kwargs))
    positional, named = arguments.decode(payload)
    return fn(*positional, **named)


@given(plain, st.lists(plain, max_size=1), st.dictionaries(st.just("c"), plain))
@settings(deadline=None)
def test_plain_call_arrives_as_it_was_made(a: Any, b: list[Any], c: dict[str, Any]) -> None:
    assert through(echo_plain, a, *b, **c) == echo_plain(a, *b, **c)


@given(
    plain,
    st.lists(plain, max_size=4),
    st.dictionaries(st.just("c"), plain),
    st.dictionaries(names, plain, max_size=3),
)
@settings(deadline=None)
def test_starred_call_arrives_as_it_was_made(
    a: Any, rest: list[Any], c: dict[str, Any], more: dict[str, Any]
) -> None:
    assert through(echo_all, a, *rest, **c, **more) == echo_all(
        a,
        *rest,
        **c,
        **more,  # type: ignore[misc]
    )


@given(
    st.dates(),
    st.lists(st.uuids()).map(tuple),
    st.binary(),
    st.dictionaries(names.filter(lambda n: n not in ("day", "ids", "raw")), st.dates()),
)
@settings(deadline=None)
def test_typed_call_arrives_with_its_types(
    day: date, ids: tuple[uuid.UUID, ...], raw: bytes, more: dict[str, date]
) -> None:
    want = echo_typed(day, ids, raw=raw, **more)
    assert through(echo_typed, day, ids, raw=raw, **more) == want


def test_payload_is_an_object_by_name_without_defaults() -> None:
    arguments = Arguments(echo_plain, "t")
    assert json.loads(arguments.encode(arguments.bind(1, c=5))) == {"a": 1, "c": 5}


def test_keyword_order_of_the_call_does_not_matter() -> None:
    arguments = Arguments(echo_plain, "t")
    first = arguments.encode(arguments.bind(b=1, a=2))
    assert first == arguments.encode(arguments.bind(2, 1))


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((), {}, "missing 1 required positional argument: 'a'"),
        ((1, 2, 3), {}, "takes from 1 to 2 positional arguments but 3 were given"),
        ((1,), {"d": 1}, "unexpected keyword argument 'd'"),
        ((1,), {"a": 1}, "multiple values for argument 'a'"),
    ],
)
def test_wrong_calls_say_what_python_says(
    args: tuple[Any, ...], kwargs: dict[str, Any], message: str
) -> None:
    arguments = Arguments(echo_plain, "t")
    with pytest.raises(TypeError, match=message) as caught:
        arguments.bind(*args, **kwargs)
    assert "echo_plain()" in str(caught.value)


def test_a_value_without_json_names_its_parameter() -> None:
    arguments = Arguments(echo_plain, "shop.mail")
    with pytest.raises(TypeError, match=r"argument 'b' of shop.mail: object has no JSON form"):
        arguments.encode(arguments.bind(1, b=object()))
    with pytest.raises(ValueError, match=r"argument 'c' of shop.mail: nan"):
        arguments.encode(arguments.bind(1, c=float("nan")))


@pytest.mark.parametrize(
    ("payload", "error", "message"),
    [
        (b"{", CorruptData, "not JSON"),
        (b"\xff\xfe", CorruptData, "not JSON"),
        (b"[1]", PayloadMismatch, "not a JSON object"),
        (b"{}", PayloadMismatch, "missing a"),
        (b"", PayloadMismatch, "missing a"),
        (b'{"a":1,"z":2,"y":3}', PayloadMismatch, "unknown y, z"),
    ],
)
def test_payloads_that_do_not_fit(payload: bytes, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Arguments(echo_plain, "t").decode(payload)


def test_a_value_that_does_not_fit_names_its_parameter() -> None:
    with pytest.raises(PayloadMismatch, match="argument 'day' of t: 'x' is not an ISO 8601 date"):
        Arguments(echo_typed, "t").decode(b'{"day":"x"}')


@given(st.binary(max_size=100))
@settings(deadline=None)
def test_any_payload_decodes_or_is_refused(payload: bytes) -> None:
    try:
        args, kwargs = Arguments(echo_typed, "t").decode(payload)
    except (CorruptData, PayloadMismatch):
        return
    echo_typed(*args, **kwargs)


def test_context_is_not_an_argument() -> None:
    def handler(ctx: Context, a: int) -> None: ...

    arguments = Arguments(handler, "t")
    assert arguments.wants_context
    assert arguments.bind(5) == {"a": 5}


def test_context_must_come_first() -> None:
    def handler(a: int, ctx: Context) -> None: ...

    with pytest.raises(UsageError, match="Context must be the first parameter, not 'ctx'"):
        Arguments(handler, "t")


def test_reserved_parameter_names() -> None:
    def handler(_reeve_d: int) -> None: ...

    with pytest.raises(InvalidError, match="_reeve_"):
        Arguments(handler, "t")


def test_annotation_that_means_nothing() -> None:
    def handler(a: NoSuchThing) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    arguments = Arguments(handler, "t")
    with pytest.raises(UsageError, match=r"annotation cannot be resolved.*NoSuchThing"):
        arguments.resolve()
