"""Enqueues from an event loop: calls that are made while a round trip is under way go out together
in the next one, from one thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from reeve import _core
from reeve._errors import BY_SLUG, Error

if TYPE_CHECKING:
    _Outcome = asyncio.Future[tuple[str, bool]]

_BATCH_COUNT = 4096


def error_of(code: int, id: str) -> Error:
    """The error of one item in a batch."""
    return BY_SLUG[_core.code_slug(code)](f"{_core.code_text(code)}: '{id}'")


class Sender:
    """Belongs to one event loop, and must not refer to it: the app drops it with its loop."""

    def __init__(self, client: Callable[[], _core.Client]) -> None:
        self._client = client
        self._waiting: list[tuple[_core.Template, bytes, _Outcome]] = []
        self._task: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="reeve-send")

    def send(self, template: _core.Template, payload: bytes) -> _Outcome:
        """Future of (id, whether it existed)."""
        loop = asyncio.get_running_loop()
        outcome: _Outcome = loop.create_future()
        self._waiting.append((template, payload, outcome))
        if self._task is None:
            self._task = loop.create_task(self._drain())
        return outcome

    def close(self) -> None:
        """Ends the thread once it is idle."""
        self._thread.shutdown(wait=False)

    async def _drain(self) -> None:
        try:
            while self._waiting:
                batch = self._waiting[:_BATCH_COUNT]
                del self._waiting[:_BATCH_COUNT]
                await self._send(batch)
        finally:
            self._task = None

    async def _send(self, batch: list[tuple[_core.Template, bytes, _Outcome]]) -> None:
        items = [(template, payload) for template, payload, _ in batch]
        try:
            loop = asyncio.get_running_loop()
            rows = await loop.run_in_executor(self._thread, self._store, items)
        except Exception as error:
            if len(batch) > 1 and not getattr(error, "transient", False):
                # none was stored; one that is refused must not take the others with it
                for one in batch:
                    await self._send([one])
                return
            for _, _, outcome in batch:
                if not outcome.done():
                    outcome.set_exception(error)
            return
        for (_, _, outcome), (code, id, _, _, existing) in zip(batch, rows, strict=True):
            if outcome.done():
                continue
            if code < 0:
                outcome.set_exception(error_of(code, id))
            else:
                outcome.set_result((id, bool(existing)))

    def _store(
        self, items: list[tuple[_core.Template, bytes]]
    ) -> list[tuple[int, str, int, int, int]]:
        return self._client().enqueue_batch(items)
