"""The types that users see, checked by mypy --strict."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import reeve

HERE = Path(__file__).resolve().parent
CASES = HERE / "typing_cases.py"
PACKAGE = Path(reeve.__file__).resolve().parents[1]
LINE = re.compile(r"typing_cases\.py:(\d+): (error|note): (.*)")


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[int, list[str]]:
    """mypy's words by line."""
    pytest.importorskip("mypy")
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--no-pretty"]
    done = subprocess.run(
        [*command, f"--cache-dir={tmp_path_factory.mktemp('mypy')}", str(CASES)],
        env={"MYPYPATH": str(PACKAGE), "PATH": ""}
        if PACKAGE.name != "site-packages"
        else {"PATH": ""},
        capture_output=True,
        text=True,
    )
    lines: dict[int, list[str]] = {}
    for line in done.stdout.splitlines():
        match = LINE.search(line)
        if match is not None:
            lines.setdefault(int(match[1]), []).append(match[3])
        elif not line.startswith("Found "):
            pytest.fail(line)
    return lines


def test_every_line_is_as_it_says(said: dict[int, list[str]]) -> None:
    for number, line in enumerate(CASES.read_text().splitlines(), 1):
        words = said.get(number, [])
        reveal = re.search(r"# reveal: (.*)$", line)
        expect = re.search(r"# expect: (.*)$", line)
        if reveal is not None:
            # older releases write "def (n: int)" for a ParamSpec's value
            plain = [w.replace("builtins.", "") for w in words]
            shown = [re.sub(r"def \(([^)]*)\)", r"[\1]", w) for w in plain]
            assert shown == [f'Revealed type is "{reveal[1]}"'], f"line {number}: {words}"
        elif expect is not None:
            assert any(expect[1] in w for w in words), f"line {number}: {words or 'nothing'}"
        else:
            assert not words, f"line {number}: {words}"


def test_the_file_asks_enough() -> None:
    text = CASES.read_text()
    assert text.count("# reveal: ") >= 20
    assert text.count("# expect: ") >= 9
