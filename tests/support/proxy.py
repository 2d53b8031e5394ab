"""A TCP proxy in user space that hurts: cuts after N bytes, stalls, closes one half, is slow.

A fault is chosen when a connection is made and stays with it; `drop_all` hits those that are
open. One thread for each direction of each connection.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

UP = "up"  # client to server
DOWN = "down"  # server to client


@dataclass(frozen=True)
class Fault:
    """What happens to a connection. `after` counts bytes of one direction."""

    kind: str = "none"  # none, cut, stall, half-close, slow, refuse
    direction: str = DOWN
    after: int = 0
    piece_bytes: int = 1  # slow: so many bytes at a time
    pause_s: float = 0.001  # slow: and a pause between them


class Proxy:
    """Listens on 127.0.0.1:port, forwards to a port of 127.0.0.1."""

    def __init__(self, target_port: int) -> None:
        self.target_port = target_port
        self.fault = Fault()
        # Asked for each new connection, so that a test can draw lots.
        self.choose: Callable[[], Fault] = lambda: self.fault
        self.accepted = 0
        self.fired = 0
        self.passed = {UP: 0, DOWN: 0}  # bytes that came, of all connections
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._closed = False
        self._spawn(self._accept)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def drop_all(self) -> None:
        """Resets every open connection."""
        with self._lock:
            victims = list(self._open)
        for sock in victims:
            self._end(sock, reset=True)

    def close(self) -> None:
        self._closed = True
        # A thread in accept() is woken by shutdown, not by close.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.drop_all()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @staticmethod
    def _spawn(target: Callable[..., None], *args: object) -> None:
        threading.Thread(target=target, args=args, daemon=True).start()

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            fault = self.choose()
            if fault.kind == "refuse":
                self._end(client, reset=True)
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self.target_port), 5)
            except OSError:
                self._end(client, reset=True)
                continue
            for sock in (client, server):
                sock.settimeout(None)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._open |= {client, server}
            self._spawn(self._pump, client, server, UP, fault)
            self._spawn(self._pump, server, client, DOWN, fault)

    def _end(self, sock: socket.socket, reset: bool = False) -> None:
        with self._lock:
            self._open.discard(sock)
        with contextlib.suppress(OSError):
            if reset:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            # Wakes the other thread that reads this socket.
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _pump(self, source: socket.socket, sink: socket.socket, way: str, fault: Fault) -> None:
        left = fault.after if fault.kind != "none" and fault.direction == way else -1
        try:
            while True:
                data = source.recv(65536)
                if not data:
                    break
                with self._lock:
                    self.passed[way] += len(data)
                if left < 0:
                    sink.sendall(data)
                    continue
                sink.sendall(data[:left])
                rest, left = data[left:], max(0, left - len(data))
                if rest and not self._hurt(source, sink, rest, fault):
                    return
        except OSError:
            pass
        self._end(source)
        self._end(sink)

    def _hurt(self, source: socket.socket, sink: socket.socket, rest: bytes, fault: Fault) -> bool:
        """False when the connection is done for."""
        self.fired += 1
        if fault.kind == "cut":
            self._end(source, reset=True)
            self._end(sink, reset=True)
            return False
        if fault.kind == "stall":
            while source.recv(65536):  # swallow, say nothing
                pass
            return False
        if fault.kind == "half-close":
            sink.shutdown(socket.SHUT_WR)
            while source.recv(65536):
                pass
            return False
        for at in range(0, len(rest), fault.piece_bytes):
            sink.sendall(rest[at : at + fault.piece_bytes])
            time.sleep(fault.pause_s)
        return True
