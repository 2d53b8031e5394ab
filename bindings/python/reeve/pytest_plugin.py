"""pytest plugin: the fixture ``reeve_harness``.

def test_welcome(reeve_harness):
    h = reeve_harness(app)
    welcome.enqueue("a@b.c")
    assert h.run_until_idle() == 1
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from reeve import App
    from reeve.testing import Harness


@pytest.fixture
def reeve_harness() -> Iterator[Callable[[App], Harness]]:
    """Call it with an app: the app is on a memory broker with a virtual clock until the test
    ends."""
    from reeve.testing import harness

    with ExitStack() as stack:

        def make(app: App) -> Harness:
            return stack.enter_context(harness(app))

        yield make
