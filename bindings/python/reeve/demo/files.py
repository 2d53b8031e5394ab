"""What the demo works on: a folder's files, and a few deliberately bad ones."""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_LEAST = 200


@dataclass(frozen=True, slots=True)
class Entry:
    """A path found by the walk."""

    path: Path
    size_bytes: int
    failing_runs: int = 0  #: its first runs fail, whatever the file


def walk(folder: Path, most: int) -> list[Entry]:
    """The first ``most`` entries that are files or claim to be (dangling links and such)."""
    found: list[Entry] = []
    for path in _paths(folder):
        try:
            size = path.stat().st_size if path.is_file() else 0
        except OSError:
            size = 0
        found.append(Entry(path, size))
        if len(found) == most:
            break
    return found


def _paths(folder: Path) -> Iterator[Path]:
    for base, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(base, name)
            # sockets, FIFOs and devices are not files; a link that leads nowhere is a bad one
            if path.is_symlink() or path.is_file():
                try:
                    str(path).encode()
                except UnicodeEncodeError:  # a name that is not text cannot be an argument
                    continue
                yield path


def default_folder() -> Path:
    """The machine's documentation, or Python's library where that is small."""
    documentation = Path("/usr/share/doc")
    if documentation.is_dir() and len(walk(documentation, _LEAST)) == _LEAST:
        return documentation
    return Path(sysconfig.get_path("stdlib"))


def make_bad(folder: Path) -> list[Entry]:
    """Entries that fail however often they are tried; visible even to root, who may read all."""
    dangling = folder / "dangling-link"
    dangling.symlink_to(folder / "nowhere")
    fifo = folder / "a-pipe-not-a-file"
    os.mkfifo(fifo)
    vanished = folder / "vanished.txt"  # named, never there
    return [Entry(path, 0) for path in (dangling, fifo, vanished)]


def make_late(folder: Path) -> Entry:
    """A file whose first run fails, and whose first retry succeeds."""
    path = folder / "late.txt"
    path.write_text("here I am\n")
    return Entry(path, path.stat().st_size, failing_runs=1)
