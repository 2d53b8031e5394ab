"""What the documentation shows is run: files are written, programs and commands run in the order of
the page, against an SQLite file in a folder of the page's own.

A block says what it is by its first line: ```python file=tasks.py is written, ```python run and
```sh run are run and must succeed, ```sh background is a worker: it works until nothing is left,
then gets SIGTERM at the end of the page."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from reeve import App

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(
    r"^```(python file=\S+|python run|sh run|sh background)\n(.*?)^```$", re.M | re.S
)
IDLE_S = 60.0

pytestmark = pytest.mark.timeout(300)


def runnable(page: Path) -> list[tuple[str, str]]:
    return FENCE.findall(page.read_text())


class Reader:
    """Does what a page says, as its reader would."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"sqlite://{folder}/reeve.db"
        self.env = {
            **os.environ,
            "REEVE_URL": self.url,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "COLUMNS": "100",
        }
        self.background: list[subprocess.Popen[str]] = []

    def do(self, info: str, code: str) -> None:
        if info.startswith("python file="):
            (self.folder / info.partition("=")[2]).write_text(code)
        elif info == "sh background":
            self.start(code)
        else:
            command = [sys.executable, "-c", code]
            if info == "sh run":
                command = ["bash", "-euo", "pipefail", "-c", code]
            done = subprocess.run(
                command,
                cwd=self.folder,
                env=self.env,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            assert done.returncode == 0, f"{code}\nends with {done.returncode}:\n{done.stdout}"

    def start(self, code: str) -> None:
        log = (self.folder / "worker.log").open("a")
        command = ["bash", "-c", f"exec {code}"]
        self.background.append(
            subprocess.Popen(command, cwd=self.folder, env=self.env, stdout=log, stderr=log)
        )
        log.close()
        self.wait_idle()

    def wait_idle(self) -> None:
        """Until nothing waits or runs."""
        by = time.monotonic() + IDLE_S
        with App(self.url) as app:
            while any(q.backlog for q in app.queues()):
                assert all(p.poll() is None for p in self.background), self.log()
                assert time.monotonic() < by, f"{app.queues()}\n{self.log()}"
                time.sleep(0.02)

    def log(self) -> str:
        return (self.folder / "worker.log").read_text()

    def stop(self) -> None:
        for process in self.background:
            process.send_signal(signal.SIGTERM)
        for process in self.background:
            assert process.wait(60) == 0, self.log()


@pytest.mark.parametrize("page", [pytest.param(p, id=p.name) for p in PAGES if runnable(p)])
def test_page(page: Path, tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    try:
        for info, code in runnable(page):
            reader.do(info, code)
        reader.stop()
    finally:
        for process in reader.background:
            process.kill()
            process.wait()


def test_command_line_reference_is_fresh() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "docs_tables.py"), "--check", "cli"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
