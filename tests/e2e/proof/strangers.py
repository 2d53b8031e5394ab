"""Servers that must not be used: each is one plain line within the deadline."""

from __future__ import annotations

import contextlib
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from support.servers import free_port

from proof.stage import Stage

DEADLINE_MS = 1500


def _answer(words: list[bytes], version: str) -> bytes:
    """What a small old server says."""
    verb = words[0].upper() if words else b""
    if verb == b"HELLO" or verb == b"SCRIPT":
        return b"-ERR unknown command `" + verb + b"`\r\n"
    if verb == b"INFO":
        text = f"# Server\r\nredis_version:{version}\r\nredis_mode:standalone\r\nrole:master\r\n"
        return b"$%d\r\n%s\r\n" % (len(text), text.encode())
    if verb == b"PING":
        return b"+PONG\r\n"
    if verb == b"TIME":
        return b"*2\r\n$10\r\n1763600000\r\n$1\r\n0\r\n"
    if verb == b"CONFIG":
        return b"*0\r\n"
    return b"+OK\r\n"


def _serve(conn: socket.socket, version: str) -> None:
    stream = conn.makefile("rb")
    with contextlib.suppress(OSError, ValueError), conn:
        while line := stream.readline():
            words = []
            for _ in range(int(line[1:])):
                size = int(stream.readline()[1:])
                words.append(stream.read(size + 2)[:-2])
            conn.sendall(_answer(words, version))


@contextlib.contextmanager
def _listener(on_accept: Callable[[socket.socket], None] | None) -> Iterator[int]:
    """A port that accepts; without a function it accepts and says nothing."""
    listener = socket.create_server(("127.0.0.1", 0))
    held: list[socket.socket] = []

    def accept() -> None:
        while True:
            try:
                conn, _ = listener.accept()
            except OSError:
                return
            held.append(conn)
            if on_accept:
                threading.Thread(target=on_accept, args=(conn,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for conn in held:
            conn.close()


def _certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate of another host."""
    key, cert = folder / "key.pem", folder / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=elsewhere.example"]
    command += ["-addext", "subjectAltName=DNS:elsewhere.example"]
    command += ["-keyout", str(key), "-out", str(cert)]
    subprocess.run(command, check=True, capture_output=True)
    return key, cert


def _try(stage: Stage, name: str, program: str, url: str, slugs: str, words: str) -> None:
    """Runs a program that must end by itself with one of the codes and words in one line."""
    start = time.monotonic()
    if program == "e2e_ctl":
        run = stage._start(program, ["queues"], None, {"url": url, "timeout_ms": DEADLINE_MS})
    else:
        run = stage.start(program, url=url)
    try:
        code = run.wait(30)
    except subprocess.TimeoutExpired:
        run.kill()
        code = -1
    took = time.monotonic() - start
    lines = run.errors().strip().splitlines()
    said = lines[-1] if lines else ""
    good = code == 1 and len(lines) == 1 and took < 8
    good = good and said.split(":")[0] in slugs.split("|")
    good = good and all(word in said.lower() for word in words.split())
    stage.check(f"{name} ({program})", good, seconds=round(took, 2), said=repr("\n".join(lines)))


def strangers(stage: Stage) -> None:
    """Each bad server in turn."""
    both = ("e2e_ctl", "e2e_worker")
    locked = stage.redis(requirepass="secret")
    for program in both:
        port = locked.port
        _try(stage, "wrong password", program, f"redis://:no@127.0.0.1:{port}/0", "auth", "")
        _try(stage, "no password", program, f"redis://127.0.0.1:{port}/0", "auth", "")
    plain = stage.redis()
    for program in both:
        _try(stage, "no such database", program, plain.url[:-1] + "99", "server|invalid", "99")
    _unsafe(stage)
    _silent(stage, both)
    _tls(stage)


def _unsafe(stage: Stage) -> None:
    evicting = stage.redis(maxmemory="100mb", maxmemory_policy="allkeys-lru")
    _try(stage, "evicting policy", "e2e_worker", evicting.url, "unsafe", "allkeys-lru")
    primary = stage.redis()
    replica = stage.redis(replicaof=f"127.0.0.1 {primary.port}")
    for program in ("e2e_ctl", "e2e_worker"):
        _try(stage, "read-only replica", program, replica.url, "unsafe|server", "replica")


def _silent(stage: Stage, both: tuple[str, ...]) -> None:
    with _listener(lambda conn: _serve(conn, "5.0.14")) as port:
        for program in both:
            url = f"redis://127.0.0.1:{port}/0"
            _try(stage, "Redis 5", program, url, "unsupported|unsafe|server", "5.0.14")
    for program in both:
        url = f"redis://127.0.0.1:{free_port()}/0"
        _try(stage, "nothing listens", program, url, "network|timeout", "127.0.0.1")
    with _listener(None) as port:
        for program in both:
            _try(stage, "black hole", program, f"redis://127.0.0.1:{port}/0", "timeout", "")
    missing = stage.folder / "no" / "such" / "folder" / "x.db"
    _try(stage, "no such folder", "e2e_ctl", f"sqlite://{missing}", "system|invalid|server", "x.db")
    rubbish = stage.path("rubbish.db")
    rubbish.write_bytes(b"this is not a database, whatever its name says" * 100)
    _try(stage, "not a database", "e2e_ctl", f"sqlite://{rubbish}", "corrupt|system|server", "")


def _tls(stage: Stage) -> None:
    if not shutil.which("openssl"):
        raise FileNotFoundError("openssl is not installed; run make test")
    key, cert = _certificate(stage.folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)

    def greet(conn: socket.socket) -> None:
        with contextlib.suppress(OSError):
            _serve(context.wrap_socket(conn, server_side=True), "7.0.0")

    with _listener(greet) as port:
        url = f"rediss://127.0.0.1:{port}/0"
        _try(stage, "TLS, unknown issuer", "e2e_ctl", url, "tls", "certificate")
        named = f"{url}?tls_ca={cert}"
        _try(stage, "TLS, wrong name", "e2e_ctl", named, "tls", "")
    with _listener(lambda conn: _serve(conn, "7.0.0")) as port:
        url = f"rediss://127.0.0.1:{port}/0"
        _try(stage, "TLS to a plain server", "e2e_ctl", url, "tls|network|timeout", "")
