"""Worker processes for tests: a module of tasks in a folder, and the command line on it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import reeve

#: Handlers report by appending a line to a file; a line is written in one go.
MODULE = """
import asyncio, os, time
from pathlib import Path
from reeve import App, Context, Retry

app = App(os.environ["TEST_URL"])
OUT = Path(os.environ["TEST_OUT"])

def say(*words):
    with OUT.open("a") as file:
        file.write(" ".join(map(str, words)) + "\\n")

@app.task(name="note", retention="1h")
def note(n):
    say("note", n, os.getpid())
    return n

@app.task(name="hold")
async def hold(seconds=3600.0):
    say("held", os.getpid())
    await asyncio.sleep(seconds)
    say("finished", os.getpid())

@app.task(name="die", max_crashes=2)
def die():
    say("dying", os.getpid())
    os.kill(os.getpid(), 9)

@app.task(name="leave", max_crashes=2)
def leave():
    say("dying", os.getpid())
    os._exit(0)
"""


class Place:
    """A folder with the module, and what its handlers said."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url
        self.out = folder / "said"
        self.out.touch()
        (folder / "work.py").write_text(MODULE)
        package = Path(reeve.__file__).resolve().parents[1]
        self.env = {
            **os.environ,
            "TEST_URL": url,
            "TEST_OUT": str(self.out),
            "PYTHONPATH": str(package),
        }
        self.env.pop("REEVE_URL", None)

    def said(self) -> list[list[str]]:
        """Lines as words."""
        return [line.split() for line in self.out.read_text().splitlines()]

    def count(self, word: str) -> int:
        """Lines that start with it."""
        return sum(1 for words in self.said() if words[0] == word)

    @contextmanager
    def worker(self, *args: str) -> Iterator[subprocess.Popen[str]]:
        """``reeve worker work``; killed at the end if it still runs."""
        command = [sys.executable, "-m", "reeve", "worker", "work", *args]
        process = subprocess.Popen(
            command, cwd=self.folder, env=self.env, stderr=subprocess.PIPE, text=True
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.communicate()

    def cli(self, *args: str, code: int = 0) -> str:
        """Output of a command that must end with this code; of stderr when it is not 0."""
        done = subprocess.run(
            [sys.executable, "-m", "reeve", *args],
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout if code == 0 else done.stderr


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def end(process: subprocess.Popen[str], number: signal.Signals = signal.SIGTERM) -> str:
    """Signals and waits; what it logged."""
    process.send_signal(number)
    _, log = process.communicate(timeout=30)
    return log
