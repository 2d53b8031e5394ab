"""Brokers for the tests: memory, an SQLite file, and a Redis server of our own."""

from __future__ import annotations

import shutil
import signal
import socket as socket_
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from reeve import App

pytest_plugins = ["pytester"]

# A shell ignores it for what runs in the background, and children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

REDIS = shutil.which("redis-server") or shutil.which("valkey-server")


def wait_for(what: Callable[[], object], timeout: float = 20.0) -> None:
    """Until a condition holds that no event tells of (another process's doing)."""
    until = time.monotonic() + timeout
    while not what():
        assert time.monotonic() < until, "the condition did not come true"
        time.sleep(0.005)


def _listens(path: Path) -> bool:
    """The socket's file is there before anybody listens at it."""
    with socket_.socket(socket_.AF_UNIX) as link:
        return link.connect_ex(str(path)) == 0


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server on a unix socket, ended with the session."""
    if REDIS is None:
        pytest.skip("no redis-server here")
    folder = tmp_path_factory.mktemp("redis")
    socket = folder / "r.sock"
    command = [REDIS, "--port", "0", "--unixsocket", str(socket), "--dir", str(folder)]
    server = subprocess.Popen(
        [*command, "--save", "", "--appendonly", "no"], stdout=subprocess.DEVNULL
    )
    try:
        wait_for(lambda: _listens(socket))
        yield f"redis+unix://{socket}"
    finally:
        server.terminate()
        server.wait()


@pytest.fixture(params=["mem", "sqlite", "redis"])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty broker of each kind."""
    return make_broker(request, request.param, tmp_path)


@pytest.fixture(params=["sqlite", "redis"])
def shared_broker(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty broker that several processes can use."""
    return make_broker(request, request.param, tmp_path)


def make_broker(request: pytest.FixtureRequest, kind: str, tmp_path: Path) -> str:
    """URL of an empty broker."""
    if kind == "mem":
        return f"mem://{uuid.uuid4().hex}"
    if kind == "sqlite":
        return f"sqlite://{tmp_path}/queue.db"
    url = str(request.getfixturevalue("redis_url"))
    redis_command(url, "flushall")
    return url


def redis_command(url: str, *words: str) -> None:
    """Runs a command on the tests' own server."""
    cli = shutil.which("redis-cli") or shutil.which("valkey-cli")
    assert cli is not None, "redis-server is here but redis-cli is not"
    socket = url.removeprefix("redis+unix://")
    subprocess.run([cli, "-s", socket, *words], check=True, stdout=subprocess.DEVNULL)


@pytest.fixture
def app(broker: str) -> Iterator[App]:
    """An app on each kind of broker."""
    with App(broker) as app:
        yield app


@pytest.fixture
def mem_app() -> Iterator[App]:
    """An app on a memory broker."""
    with App(f"mem://{uuid.uuid4().hex}") as app:
        yield app


class Counted:
    """Lets a test wait until handlers were called so often."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self.values: list[Any] = []

    def add(self, value: object = None) -> None:
        """For handlers."""
        with self._condition:
            self.values.append(value)
            self._condition.notify_all()

    def wait(self, count: int, timeout: float = 20.0) -> list[Any]:
        """Until there are count values."""
        with self._condition:
            there = self._condition.wait_for(lambda: len(self.values) >= count, timeout)
            assert there, f"{len(self.values)} of {count} calls came: {self.values}"
            return list(self.values)


@pytest.fixture
def calls() -> Counted:
    """A fresh counter."""
    return Counted()
