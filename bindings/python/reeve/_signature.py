"""A handler's signature, both ways: call arguments to a JSON object at enqueue, and a JSON object
to call arguments in the worker.

The binder is a small generated function with the handler's own parameter list, so Python itself
checks the call and words the errors, and one enqueue costs a plain call instead of
``Signature.bind``.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from typing import Any

from reeve import _codec
from reeve._errors import CorruptData, EncodeError, InvalidError, PayloadMismatch, UsageError

_Kind = inspect.Parameter
_CONTEXT_NAMES = frozenset({"Context", "reeve.Context"})


class _Missing:
    """Stands for "not given": a default belongs to the worker that runs the task."""


_MISSING = _Missing()


def _is_context(annotation: object) -> bool:
    from reeve._context import Context

    return annotation is Context or (isinstance(annotation, str) and annotation in _CONTEXT_NAMES)


def _binder_source(params: list[inspect.Parameter]) -> str:
    """Text of ``def bind(<the same parameters>)`` that returns a dict by name."""
    heads: list[str] = []
    always: list[str] = []
    lines: list[str] = []
    star = False
    for index, p in enumerate(params):
        name = p.name
        optional = p.default is not p.empty
        if p.kind is _Kind.VAR_POSITIONAL:
            heads.append(f"*{name}")
            lines.append(f"    if {name}: _reeve_d[{name!r}] = list({name})")
            star = True
        elif p.kind is _Kind.VAR_KEYWORD:
            heads.append(f"**{name}")
            lines.append(f"    if {name}: _reeve_d[{name!r}] = {name}")
        else:
            if p.kind is _Kind.KEYWORD_ONLY and not star:
                heads.append("*")
                star = True
            heads.append(f"{name}=_reeve_missing" if optional else name)
            if optional:
                lines.append(f"    if {name} is not _reeve_missing: _reeve_d[{name!r}] = {name}")
            else:
                always.append(f"{name!r}: {name}")
        if p.kind is _Kind.POSITIONAL_ONLY and (
            index + 1 == len(params) or params[index + 1].kind is not _Kind.POSITIONAL_ONLY
        ):
            heads.append("/")
    body = [f"    _reeve_d = {{{', '.join(always)}}}", *lines, "    return _reeve_d"]
    return f"def bind({', '.join(heads)}):\n" + "\n".join(body)


def _make_binder(name: str, params: list[inspect.Parameter]) -> Callable[..., dict[str, Any]]:
    for p in params:
        if p.name.startswith("_reeve_"):
            raise InvalidError(f"parameter {p.name} of {name}: names with _reeve_ are taken")
    space: dict[str, Any] = {"_reeve_missing": _MISSING, "list": list}
    exec(compile(_binder_source(params), f"<arguments of {name}>", "exec"), space)
    bind: Callable[..., dict[str, Any]] = space["bind"]
    bind.__name__ = bind.__qualname__ = name
    return bind


class Arguments:
    """The parameters of one handler."""

    __slots__ = (
        "_converters",
        "_fn",
        "_keyword_only_call",
        "_params",
        "_required",
        "_resolved",
        "_result",
        "bind",
        "names",
        "task",
        "wants_context",
    )

    def __init__(self, fn: Callable[..., Any], task: str) -> None:
        self._fn = fn
        self.task = task
        params = list(inspect.signature(fn).parameters.values())
        first = params[0] if params else None
        self.wants_context = first is not None and _is_context(first.annotation)
        if self.wants_context:
            params = params[1:]
        for p in params:
            if _is_context(p.annotation):
                raise UsageError(
                    f"task {task}: Context must be the first parameter, not {p.name!r}"
                )
        self._params = params
        self.names = frozenset(p.name for p in params)
        self._required = frozenset(
            p.name
            for p in params
            if p.default is p.empty and p.kind not in (_Kind.VAR_POSITIONAL, _Kind.VAR_KEYWORD)
        )
        self._keyword_only_call = all(
            p.kind in (_Kind.POSITIONAL_OR_KEYWORD, _Kind.KEYWORD_ONLY) for p in params
        )
        self.bind = _make_binder(getattr(fn, "__name__", task), params)
        self._resolved = False
        self._converters: list[tuple[str, _codec.Decoder]] = []
        self._result: _codec.Decoder | None = None

    def resolve(self) -> None:
        """Makes the decoders from the annotations. Raises UsageError when one has no meaning."""
        if self._resolved:
            return
        try:
            hints = typing.get_type_hints(self._fn, include_extras=True)
        except (NameError, TypeError, AttributeError) as error:
            raise UsageError(
                f"task {self.task}: an annotation cannot be resolved: {error}"
            ) from None
        converters: list[tuple[str, _codec.Decoder]] = []
        for p in self._params:
            annotation = hints.get(p.name, Any)
            if p.kind is _Kind.VAR_POSITIONAL:
                annotation = list[annotation]  # type: ignore[valid-type]
            elif p.kind is _Kind.VAR_KEYWORD:
                annotation = dict[str, annotation]  # type: ignore[valid-type]
            convert = _codec.decoder(annotation)
            if convert is not None:
                converters.append((p.name, convert))
        self._converters = converters
        self._result = _codec.decoder(hints.get("return", Any))
        self._resolved = True

    def encode(self, arguments: dict[str, Any]) -> bytes:
        """JSON of bound arguments. Raises EncodeError naming the parameter."""
        try:
            return _codec.dumps(arguments)
        except EncodeError as error:
            raise self._blame(arguments, error) from None

    def _blame(self, arguments: dict[str, Any], error: Exception) -> EncodeError:
        for name, value in arguments.items():
            try:
                _codec.dumps(value)
            except EncodeError as why:
                return EncodeError(f"argument {name!r} of {self.task}: {why}")
        return EncodeError(f"arguments of {self.task}: {error}")

    def decode(self, payload: bytes) -> tuple[list[Any], dict[str, Any]]:
        """Call arguments from a stored payload. Raises PayloadMismatch, CorruptData."""
        if not self._resolved:
            self.resolve()
        try:
            values = _codec.loads(payload) if payload else {}
        except ValueError as error:
            raise CorruptData(f"payload of {self.task} is not JSON: {error}") from None
        if not isinstance(values, dict):
            raise PayloadMismatch(f"payload of {self.task} is not a JSON object")
        if not self.names >= values.keys() or not self._required <= values.keys():
            raise PayloadMismatch(self._mismatch(values))
        for name, convert in self._converters:
            if name in values:
                try:
                    values[name] = convert(values[name])
                except (ValueError, TypeError) as error:
                    raise PayloadMismatch(f"argument {name!r} of {self.task}: {error}") from None
        if self._keyword_only_call:
            return [], values
        return self._spread(values)

    def _mismatch(self, values: dict[str, Any]) -> str:
        parts = []
        unknown = sorted(values.keys() - self.names)
        missing = sorted(self._required - values.keys())
        if unknown:
            parts.append("unknown " + ", ".join(unknown))
        if missing:
            parts.append("missing " + ", ".join(missing))
        return f"payload does not fit {self.task}: {'; '.join(parts)}"

    def _spread(self, values: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Positional-only and starred parameters: rebuilds the call."""
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        starred = bool(
            any(p.kind is _Kind.VAR_POSITIONAL and values.get(p.name) for p in self._params)
        )
        for p in self._params:
            if p.kind is _Kind.VAR_POSITIONAL:
                args.extend(values.get(p.name, ()))
            elif p.kind is _Kind.VAR_KEYWORD:
                kwargs.update(values.get(p.name, {}))
            elif p.kind is _Kind.POSITIONAL_ONLY or (
                starred and p.kind is _Kind.POSITIONAL_OR_KEYWORD
            ):
                if p.name in values:
                    args.append(values[p.name])
                elif starred:
                    args.append(p.default)
            elif p.name in values:
                kwargs[p.name] = values[p.name]
        return args, kwargs

    def decode_result(self, data: bytes) -> Any:
        """The stored result as the handler's return annotation says."""
        if not self._resolved:
            self.resolve()
        try:
            value = _codec.loads(data)
            return value if self._result is None else self._result(value)
        except ValueError as error:
            raise CorruptData(f"result of {self.task} is unreadable: {error}") from None
