"""The short form of each proof; `python3 tests/e2e/prove.py` is the full one."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from prove import ITEMS, prove  # noqa: E402

ROOT = HERE.parents[1]
BUILD = Path(os.environ.get("REEVE_BUILD_DIR", ROOT / "build-dev"))
CASES = [(name, broker) for name, item in ITEMS.items() if item.short for broker in item.brokers]


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("name", "broker"), CASES, ids=[f"{n}-{b}" for n, b in CASES])
def test_holds(name: str, broker: str) -> None:
    checks = prove(name, broker, BUILD, None, short=True, quiet=True)
    assert checks
    broken = [f"{check.name}: {check.figures}" for check in checks if not check.good]
    assert not broken, "\n".join(broken)
