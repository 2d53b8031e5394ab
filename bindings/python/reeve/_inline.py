"""``with app.inline():`` — an enqueue runs the task at once, here.

The path is the real one: a memory broker, the payload's encoding, the core's retries. Only the
waiting is left out: a virtual clock jumps to the next attempt.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from reeve import _core
from reeve._job import Job

if TYPE_CHECKING:
    from reeve._app import App
    from reeve._signature import Arguments
    from reeve.testing import Harness


class Inline:
    """What enqueues go through while inline mode is on."""

    def __init__(self, harness: Harness) -> None:
        self._harness = harness
        self._depth = 0

    def run(
        self, template: _core.Template, queue: str, arguments: Arguments, payload: bytes
    ) -> Job[Any]:
        """Stores and runs one job, with its retries; jobs it enqueues run after it."""
        app = self._harness.app
        _, id, _, _, existing = app.client.enqueue(template, payload)
        if self._depth == 0:
            self._depth += 1
            try:
                self._harness.run_to_end()
            finally:
                self._depth -= 1
        return Job(app, id, queue, arguments, bool(existing))

    async def arun(
        self, template: _core.Template, queue: str, arguments: Arguments, payload: bytes
    ) -> Job[Any]:
        """The same from an event loop."""
        app = self._harness.app
        _, id, _, _, existing = app.client.enqueue(template, payload)
        if self._depth == 0:
            self._depth += 1
            try:
                await self._harness.arun_to_end()
            finally:
                self._depth -= 1
        return Job(app, id, queue, arguments, bool(existing))


@contextmanager
def inline(app: App) -> Iterator[None]:
    """Turns inline mode on for an app."""
    from reeve.testing import harness

    with harness(app) as h:
        app._inline = Inline(h)
        try:
            yield
        finally:
            app._inline = None
