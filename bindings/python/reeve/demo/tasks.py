"""The demo's task. Its queues are named when it is enqueued."""

from __future__ import annotations

import hashlib
import stat
import zlib
from dataclasses import dataclass
from pathlib import Path

from reeve import App, Context, Retry

app = App()

_CHUNK_BYTES = 1 << 18


@dataclass(frozen=True, slots=True)
class Facts:
    """What the demo wants to know about a file."""

    size_bytes: int
    gzip_bytes: int
    lines: int
    sha256: str


@app.task(
    name="reeve.demo.digest",
    retry=Retry(max_attempts=3, base=0.2, factor=2, cap=1, jitter="none"),
    timeout="60s",
    retention="1h",
)
def digest(context: Context, path: Path, failing_runs: int = 0) -> Facts:
    """SHA-256, compressed size and line count of a file, read in pieces."""
    if context.attempt <= failing_runs:
        raise FileNotFoundError(f"not there yet, says the demo: {path}")
    # a FIFO would block the open, a device would never end
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(f"not a regular file: {path}")
    sha = hashlib.sha256()
    gzip = zlib.compressobj(6, wbits=31)
    size = packed = lines = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            sha.update(chunk)
            packed += len(gzip.compress(chunk))
            lines += chunk.count(b"\n")
            size += len(chunk)
    packed += len(gzip.flush())
    return Facts(size, packed, lines, sha.hexdigest())
