"""JSON for arguments and results.

Encoding needs no annotation: one hook turns dataclasses, enums, dates and the like into JSON.
Decoding goes by annotation: ``decoder(annotation)`` is a function from JSON to the value, or None
when JSON is the value already. orjson is used when it is installed. It must not be noticed: what
it would write or read otherwise than the standard library (and what that accepts but JSON does not)
is found by ``_core.json_traits`` and goes the careful way.
"""

from __future__ import annotations

import base64
import collections.abc
import dataclasses
import enum
import json
import math
import types
import typing
import uuid
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path, PurePath
from typing import Any

from reeve import _core
from reeve._errors import EncodeError

try:
    import orjson
except ImportError:  # the standard library does it all, only slower
    orjson = None  # type: ignore[assignment]

Decoder = Callable[[Any], Any]

#: orjson writes 1e-7 and 0.00001, Python 1e-07 and 1e-05; both nest deeper than is read.
_WRITE_CARE = _core.JSON_EXPONENT | _core.JSON_DEEP
#: orjson reads integers beyond 64 bits as floats.
_READ_CARE = _core.JSON_LONG | _core.JSON_DEEP
#: In these no NaN is hidden.
_NEVER_NAN = frozenset({str, int, bool, type(None)})


class DecodeError(ValueError):
    """JSON does not fit an annotation."""


def to_json_hook(value: object) -> object:
    """JSON form of a value that JSON does not know; raises TypeError."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, (uuid.UUID, Decimal, PurePath)):
        return str(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, (set, frozenset, tuple)):
        return list(value)
    if isinstance(value, Mapping):
        return dict(value)
    dump = getattr(value, "model_dump", None)
    if callable(dump):
        return dump(mode="json")
    names = _field_names(value)
    if names is not None:
        return {name: getattr(value, name) for name in names}
    raise EncodeError(f"{type(value).__qualname__} has no JSON form")


def _field_names(value: object) -> list[str] | None:
    attrs_fields = getattr(type(value), "__attrs_attrs__", None)
    if attrs_fields is not None:
        return [field.name for field in attrs_fields]
    struct_fields = getattr(type(value), "__struct_fields__", None)
    return None if struct_fields is None else list(struct_fields)


def _plain(value: object, depth: int = 0) -> object:
    """The value with every key a string and every leaf plain; for what the fast path refuses."""
    if depth > _core.JSON_DEPTH_MAX:
        raise EncodeError(f"nested deeper than {_core.JSON_DEPTH_MAX} levels, or contains itself")
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, enum.Enum):
        return _plain(value.value, depth + 1)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise EncodeError(f"{value} has no JSON form")
        return float(value)
    if isinstance(value, dict):
        return {_key(k): _plain(v, depth + 1) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, depth + 1) for item in value]
    return _plain(to_json_hook(value), depth + 1)


def _has_no_nan(value: object) -> bool:
    """A quick look at what arguments mostly are; False when it takes a closer one."""
    return type(value) is dict and all(type(v) in _NEVER_NAN for v in value.values())


def _key(key: object) -> str:
    if isinstance(key, enum.Enum):
        key = key.value
    if isinstance(key, str):
        return key
    if key is None or isinstance(key, (bool, int, float)):
        return json.dumps(key, allow_nan=False)
    if isinstance(key, (datetime, date, time, uuid.UUID, Decimal, PurePath)):
        return str(to_json_hook(key))
    raise EncodeError(f"{type(key).__qualname__} cannot be a key in JSON")


def _dumps_plain(value: object) -> bytes:
    try:
        text = json.dumps(_plain(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        data = text.encode()
    except (ValueError, RecursionError) as error:
        if isinstance(error, EncodeError):
            raise
        raise EncodeError(str(error)) from None
    if _core.json_traits(data) & _core.JSON_DEEP:
        raise EncodeError(f"nested deeper than {_core.JSON_DEPTH_MAX} levels")
    return data


if orjson is not None:
    # keys that are no strings go the careful way, for they may be floats
    _OPTIONS = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME

    def dumps(value: object) -> bytes:
        """Compact JSON. Raises EncodeError; NaN and infinities are refused."""
        try:
            data = orjson.dumps(value, to_json_hook, _OPTIONS)
        except TypeError:
            return _dumps_plain(value)
        traits = _core.json_traits(data)
        if traits & _WRITE_CARE:
            return _dumps_plain(value)
        # orjson writes NaN as null: look closer when there is a null
        if traits & _core.JSON_NULL and not _has_no_nan(value):
            _plain(value)
        return data

    def loads(data: bytes) -> Any:
        """The JSON value. Raises ValueError."""
        if _core.json_traits(data) & _READ_CARE:
            return _loads_std(data)
        return orjson.loads(data)

else:
    _ENCODER = json.JSONEncoder(
        ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=to_json_hook
    )

    def dumps(value: object) -> bytes:
        """Compact JSON. Raises EncodeError; NaN and infinities are refused."""
        try:
            data = _ENCODER.encode(value).encode()
        except (TypeError, ValueError, RecursionError):
            return _dumps_plain(value)
        return _dumps_plain(value) if _core.json_traits(data) & _core.JSON_DEEP else data

    def loads(data: bytes) -> Any:
        """The JSON value. Raises ValueError."""
        return _loads_std(data)


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is out of range")
    return value


#: json.loads would make one anew for each call.
_DECODER = json.JSONDecoder(parse_constant=_no_constant)
_FAR_DECODER = json.JSONDecoder(parse_constant=_no_constant, parse_float=_finite)


def _loads_std(data: bytes) -> Any:
    traits = _core.json_traits(data)
    if traits & _core.JSON_DEEP:
        raise ValueError(f"nested deeper than {_core.JSON_DEPTH_MAX} levels")
    is_far = traits & (_core.JSON_LONG | _core.JSON_EXPONENT)
    text = data.decode()  # not left to json.loads, which takes UTF-16 and half pairs
    value = (_FAR_DECODER if is_far else _DECODER).decode(text)
    if traits & _core.JSON_SURROGATE:
        json.dumps(value, ensure_ascii=False).encode()  # a lone one cannot be
    return value


# Decoding by annotation


def _wrong(value: object, want: str) -> DecodeError:
    shown = repr(value)
    if len(shown) > 60:
        shown = shown[:57] + "..."
    return DecodeError(f"{shown} is not {want}")


def _text(value: object, want: str) -> str:
    if not isinstance(value, str):
        raise _wrong(value, want)
    return value


def _from_text(make: Callable[[str], Any], want: str) -> Decoder:
    def decode(value: Any) -> Any:
        try:
            return make(_text(value, want))
        except (ValueError, ArithmeticError):
            raise _wrong(value, want) from None

    return decode


def _decode_delta(value: Any) -> timedelta:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _wrong(value, "a number of seconds")
    return timedelta(seconds=value)


def _decode_bytes(value: Any) -> bytes:
    try:
        return base64.b64decode(_text(value, "base64 text"), validate=True)
    except ValueError:
        raise _wrong(value, "base64 text") from None


_SIMPLE: dict[object, Decoder] = {
    datetime: _from_text(datetime.fromisoformat, "an ISO 8601 date and time"),
    date: _from_text(date.fromisoformat, "an ISO 8601 date"),
    time: _from_text(time.fromisoformat, "an ISO 8601 time"),
    timedelta: _decode_delta,
    uuid.UUID: _from_text(uuid.UUID, "a UUID"),
    Decimal: _from_text(Decimal, "a decimal number"),
    bytes: _decode_bytes,
    bytearray: lambda value: bytearray(_decode_bytes(value)),
}

_AS_IS: frozenset[object] = frozenset({Any, object, None, type(None), str, int, float, bool})


def _decode_enum(cls: type[enum.Enum]) -> Decoder:
    def decode(value: Any) -> Any:
        try:
            return cls(value)
        except ValueError:
            pass
        try:
            return cls(tuple(value))
        except (TypeError, ValueError):
            raise _wrong(value, f"a {cls.__qualname__}") from None

    return decode


def _items(value: object, want: str) -> list[Any]:
    if not isinstance(value, list):
        raise _wrong(value, want)
    return value


def _decode_collection(make: Callable[[list[Any]], Any], item: Any, want: str) -> Decoder | None:
    inner = decoder(item)
    if inner is None:
        if make is list:
            return None
        return lambda value: make(_items(value, want))
    convert = inner
    return lambda value: make([convert(v) for v in _items(value, want)])


def _decode_tuple(args: tuple[Any, ...]) -> Decoder | None:
    if not args:
        return lambda value: tuple(_items(value, "a list"))
    if len(args) == 2 and args[1] is Ellipsis:
        return _decode_collection(tuple, args[0], "a list")
    parts = [decoder(arg) for arg in args]

    def decode(value: Any) -> Any:
        items = _items(value, f"a list of {len(parts)}")
        if len(items) != len(parts):
            raise _wrong(value, f"a list of {len(parts)}")
        return tuple(v if part is None else part(v) for v, part in zip(items, parts, strict=True))

    return decode


def _decode_key(annotation: Any) -> Decoder | None:
    if annotation in (int, float):
        return lambda key: annotation(key)
    return decoder(annotation)


def _decode_mapping(args: tuple[Any, ...]) -> Decoder | None:
    if len(args) != 2:
        return None
    key, inner = _decode_key(args[0]), decoder(args[1])
    if key is None and inner is None:
        return None

    def decode(value: Any) -> Any:
        if not isinstance(value, dict):
            raise _wrong(value, "an object")
        try:
            return {
                (k if key is None else key(k)): (v if inner is None else inner(v))
                for k, v in value.items()
            }
        except DecodeError:
            raise
        except (TypeError, ValueError) as error:
            raise DecodeError(str(error)) from None

    return decode


def _accepts(annotation: Any) -> Callable[[Any], bool]:
    """A cheap test whether plain JSON is this member of a union."""
    kinds: dict[Any, Any] = {
        str: str,
        int: int,
        float: (int, float),
        bool: bool,
        type(None): type(None),
        list: list,
        dict: dict,
    }
    base = typing.get_origin(annotation) or annotation
    if base is typing.Literal:
        members = typing.get_args(annotation)
        return lambda value: value in members
    kind = kinds.get(base)
    if kind is None:
        return lambda value: True
    return lambda value: isinstance(value, kind)


def _decode_union(args: tuple[Any, ...]) -> Decoder | None:
    members = [(decoder(arg), _accepts(arg)) for arg in args]
    if all(convert is None for convert, _ in members):
        return None
    # what converts comes first: "2026-01-01" for date | str is a date
    members.sort(key=lambda member: member[0] is None)

    def decode(value: Any) -> Any:
        if value is None and type(None) in args:
            return None
        for convert, accepts in members:
            if not accepts(value):
                continue
            if convert is None:
                return value
            try:
                return convert(value)
            except (DecodeError, TypeError, ValueError):
                continue
        names = " or ".join(getattr(arg, "__name__", str(arg)) for arg in args)
        raise _wrong(value, names)

    return decode


def _decode_fields(cls: type, hints: dict[str, Any], required: set[str]) -> Decoder:
    """Decoder of a class that is built from named fields. Resolves its fields when first used, so
    that classes may refer to themselves."""
    plan: list[tuple[str, Decoder]] = []
    known: set[str] = set(hints)
    ready = False

    def decode(value: Any) -> Any:
        nonlocal ready
        if not ready:
            plan.extend((n, d) for n, a in hints.items() if (d := decoder(a)) is not None)
            ready = True
        if not isinstance(value, dict):
            raise _wrong(value, f"a {cls.__qualname__}")
        if value.keys() - known or required - value.keys():
            names = sorted(value.keys() ^ (required | (known & value.keys())))
            raise DecodeError(f"{cls.__qualname__} does not fit: {', '.join(names)}")
        fields = dict(value)
        for name, convert in plan:
            if name in fields:
                try:
                    fields[name] = convert(fields[name])
                except DecodeError as error:
                    raise DecodeError(f"{name}: {error}") from None
        return cls(**fields)

    return decode


def _decode_dataclass(cls: type) -> Decoder:
    hints = typing.get_type_hints(cls)
    fields = [f for f in dataclasses.fields(cls) if f.init]
    missing = dataclasses.MISSING
    required = {f.name for f in fields if f.default is missing and f.default_factory is missing}
    return _decode_fields(cls, {f.name: hints[f.name] for f in fields}, required)


def _decode_attrs(cls: Any) -> Decoder:
    import attr

    hints = typing.get_type_hints(cls)
    fields = [f for f in attr.fields(cls) if f.init]
    required = {f.alias for f in fields if f.default is attr.NOTHING}
    return _decode_fields(cls, {f.alias: hints.get(f.name, Any) for f in fields}, required)


def _decode_model(cls: Any) -> Decoder:
    def decode(value: Any) -> Any:
        try:
            return cls.model_validate(value)
        except ValueError as error:
            raise DecodeError(str(error)) from None

    return decode


def _decode_struct(cls: Any) -> Decoder:
    import msgspec

    def decode(value: Any) -> Any:
        try:
            return msgspec.convert(value, cls)
        except msgspec.ValidationError as error:
            raise DecodeError(str(error)) from None

    return decode


def _decode_named_tuple(cls: Any) -> Decoder:
    hints = typing.get_type_hints(cls)
    inner = _decode_tuple(tuple(hints.get(name, Any) for name in cls._fields))
    return lambda value: cls(*(inner(value) if inner is not None else value))


def _decode_class(cls: type) -> Decoder | None:
    if issubclass(cls, enum.Enum):
        return _decode_enum(cls)
    if issubclass(cls, PurePath):
        make = Path if cls is Path else cls
        return _from_text(make, "a path")
    if typing.is_typeddict(cls):
        hints = typing.get_type_hints(cls)
        required: set[str] = set(cls.__required_keys__)  # type: ignore[attr-defined]
        return _decode_fields(cls, hints, required)
    if dataclasses.is_dataclass(cls):
        return _decode_dataclass(cls)
    if hasattr(cls, "model_validate"):
        return _decode_model(cls)
    if hasattr(cls, "__attrs_attrs__"):
        return _decode_attrs(cls)
    if hasattr(cls, "__struct_fields__"):
        return _decode_struct(cls)
    if issubclass(cls, tuple) and hasattr(cls, "_fields"):
        return _decode_named_tuple(cls)
    if cls in (set, frozenset, tuple):
        return lambda value: cls(_items(value, "a list"))
    return None


_SEQUENCES: frozenset[object] = frozenset(
    {
        list,
        collections.abc.Sequence,
        collections.abc.MutableSequence,
        collections.abc.Iterable,
        collections.abc.Collection,
    }
)
_MAPPINGS: frozenset[object] = frozenset(
    {dict, collections.abc.Mapping, collections.abc.MutableMapping}
)


def _decode_generic(origin: Any, args: tuple[Any, ...]) -> Decoder | None:
    if origin is typing.Annotated:
        return decoder(args[0])
    if origin is typing.Union or origin is types.UnionType:
        return _decode_union(args)
    if origin is tuple:
        return _decode_tuple(args)
    item = args[0] if args else Any
    if origin in _SEQUENCES:
        return _decode_collection(list, item, "a list")
    if origin in (set, collections.abc.Set, collections.abc.MutableSet):
        return _decode_collection(set, item, "a list")
    if origin is frozenset:
        return _decode_collection(frozenset, item, "a list")
    if origin in _MAPPINGS:
        return _decode_mapping(args)
    return decoder(origin) if isinstance(origin, type) else None


def decoder(annotation: Any) -> Decoder | None:
    """From JSON to a value of this annotation; None when JSON is it."""
    try:
        if annotation in _AS_IS:
            return None
        simple = _SIMPLE.get(annotation)
    except TypeError:  # unhashable metadata in Annotated
        simple = None
    if simple is not None:
        return simple
    origin = typing.get_origin(annotation)
    if origin is not None:
        return _decode_generic(origin, typing.get_args(annotation))
    supertype = getattr(annotation, "__supertype__", None)
    if supertype is not None:
        return decoder(supertype)
    return _decode_class(annotation) if isinstance(annotation, type) else None
