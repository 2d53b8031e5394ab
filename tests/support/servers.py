"""redis-server processes of a test's own: private port, directory, options; killed by pid alone."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from pathlib import Path


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


class RedisServer:
    """One server. `options` are redis.conf words; the directory stays over kill and start."""

    def __init__(self, directory: Path, **options: str) -> None:
        self.directory = directory
        self.directory.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.options = options
        self.wrapper: list[str] = []  # what runs the server, such as valgrind
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self, wait: bool = True) -> RedisServer:
        command = [*self.wrapper, "redis-server", "--port", str(self.port)]
        command += ["--bind", "127.0.0.1"]
        command += ["--dir", str(self.directory), "--save", "", "--daemonize", "no"]
        for name, value in self.options.items():
            command += ["--" + name.replace("_", "-"), *value.split()]
        with open(self.directory / "server.log", "ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        if wait:
            self.wait()
        return self

    def wait(self, timeout_s: float = 30.0) -> None:
        """Returns when it answers PING and has loaded its data."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            if self.process is None or self.process.poll() is not None:
                log = (self.directory / "server.log").read_text(errors="replace")
                raise RuntimeError(f"redis-server ended: {log[-2000:]}")
            try:
                # An error reply, such as NOAUTH, is an answer too; LOADING is not.
                answer = self.raw(b"PING")
                if answer.startswith((b"+", b"-NOAUTH")):
                    return
            except OSError:
                pass
            time.sleep(0.005)
        raise TimeoutError("redis-server does not answer")

    def raw(self, line: bytes) -> bytes:
        """First bytes of the reply to one inline command."""
        with socket.create_connection(("127.0.0.1", self.port), 2) as conn:
            conn.sendall(line + b"\r\n")
            return conn.recv(65536)

    def command(self, *words: str) -> str:
        """The reply, as redis-cli prints it to a pipe."""
        done = subprocess.run(
            ["redis-cli", "-p", str(self.port), *words], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def info(self, section: str) -> dict[str, str]:
        pairs = (line.split(":", 1) for line in self.command("INFO", section).splitlines())
        return {pair[0]: pair[1].strip() for pair in pairs if len(pair) == 2}

    def stop(self) -> None:
        """Lets it end by itself."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait()
            self.process = None

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def __enter__(self) -> RedisServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()
