"""Enqueues from an event loop: calls that are made while a round trip is under way go out together
in the next one, from one thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from reeve import _core
from reeve._errors import BY_SLUG, Error

if TYPE_CHECKING:
    _Outcome = asyncio.Future[tuple[str, bool]]
    _Call = tuple[_core.Template, bytes, _Outcome]
    _Row = tuple[int, str, int, int, int]

_BATCH_COUNT = 4096


def error_of(code: int, id: str) -> Error:
    """The error of one item in a batch."""
    return BY_SLUG[_core.code_slug(code)](f"{_core.code_text(code)}: '{id}'")


class Sender:
    """Belongs to one event loop, and must not refer to it: the app drops it with its loop.

    It is driven by callbacks: a task of its own would be among all_tasks(), and a program that
    cancels those would leave callers waiting for ever.
    """

    def __init__(self, client: Callable[[], _core.Client]) -> None:
        self._client = client
        self._waiting: list[_Call] = []
        self._alone: list[_Call] = []  # the calls of a batch that was refused
        self._busy = False
        self._closed = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="reeve-send")

    def send(self, template: _core.Template, payload: bytes) -> _Outcome:
        """Future of (id, whether it existed)."""
        loop = asyncio.get_running_loop()
        outcome: _Outcome = loop.create_future()
        self._waiting.append((template, payload, outcome))
        if not self._busy:
            self._busy = True
            loop.call_soon(self._next)
        return outcome

    def close(self) -> None:
        """Ends the thread once all that waits has been sent."""
        self._closed = True
        if not self._busy:
            self._thread.shutdown(wait=False)

    def _next(self) -> None:
        if self._alone:
            batch = [self._alone.pop()]
        else:
            batch = self._waiting[:_BATCH_COUNT]
            del self._waiting[:_BATCH_COUNT]
        if not batch:
            self._busy = False
            if self._closed:
                self._thread.shutdown(wait=False)
            return
        items = [(template, payload) for template, payload, _ in batch]
        stored = asyncio.get_running_loop().run_in_executor(self._thread, self._store, items)
        stored.add_done_callback(partial(self._stored, batch))

    def _stored(self, batch: list[_Call], stored: asyncio.Future[list[_Row]]) -> None:
        error = asyncio.CancelledError() if stored.cancelled() else stored.exception()
        if error is None:
            for (_, _, outcome), row in zip(batch, stored.result(), strict=True):
                _answer(outcome, row)
        elif len(batch) > 1 and not getattr(error, "transient", False):
            # none was stored; one that is refused must not take the others with it
            self._alone = batch[::-1]
        else:
            for _, _, outcome in batch:
                if not outcome.done():
                    outcome.set_exception(error)
        self._next()

    def _store(self, items: list[tuple[_core.Template, bytes]]) -> list[_Row]:
        return self._client().enqueue_batch(items)


def _answer(outcome: _Outcome, row: _Row) -> None:
    code, id, _, _, existing = row
    if outcome.done():
        return
    if code < 0:
        outcome.set_exception(error_of(code, id))
    else:
        outcome.set_result((id, bool(existing)))
