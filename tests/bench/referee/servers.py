"""A private redis-server for one phase, and the few commands that a measurement needs."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType


class ServerError(Exception):
    """The server does not start or does not answer as it should."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def encode(*words: str) -> bytes:
    """One command as the protocol wants it."""
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        data = word.encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(parts)


class Redis:
    """A fresh server on a private port with its data in a folder of its own; a context manager."""

    def __init__(self, *, aof: str = "off") -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="reeve-bench-"))
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1"]
        command += ["--save", "", "--dir", str(self.folder), "--logfile", "redis.log"]
        if aof != "off":
            command += ["--appendonly", "yes", "--appendfsync", aof]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        self._link: socket.socket | None = None
        self._buffer = b""
        try:
            self._wait()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Redis:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        if self._link is not None:
            self._link.close()
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def cpu_s(self) -> float:
        """User and system time of the process so far, to the microsecond."""
        info = self.info("cpu")
        return float(info["used_cpu_sys"]) + float(info["used_cpu_user"])

    def memory_bytes(self) -> int:
        return int(self.info("memory")["used_memory"])

    def version(self) -> str:
        return self.info("server")["redis_version"]

    def info(self, section: str) -> dict[str, str]:
        lines = self.call("INFO", section).decode().splitlines()
        pairs = (line.split(":", 1) for line in lines if ":" in line)
        return {name: value.strip() for name, value in pairs}

    def call(self, *words: str) -> bytes:
        """The reply to a command that answers with one line or one string."""
        if self._link is None:
            raise ServerError("redis-server: not connected")
        self._link.sendall(encode(*words))
        head = self._line()
        if head.startswith(b"-"):
            raise ServerError(head[1:].decode())
        if not head.startswith(b"$"):
            return head[1:]
        size = int(head[1:])
        while len(self._buffer) < size + 2:
            self._more()
        reply, self._buffer = self._buffer[:size], self._buffer[size + 2 :]
        return reply

    def _line(self) -> bytes:
        while b"\r\n" not in self._buffer:
            self._more()
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        return line

    def _more(self) -> None:
        data = self._link.recv(65536) if self._link else b""
        if not data:
            raise ServerError("redis-server: closed the connection")
        self._buffer += data

    def _wait(self) -> None:
        deadline = time.monotonic() + 10
        while True:
            try:
                self._link = socket.create_connection(("127.0.0.1", self.port), timeout=30)
                self._link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if self.call("PING") == b"PONG":
                    return
            except (OSError, ServerError):
                pass
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise ServerError("redis-server: does not start")
            time.sleep(0.01)
