"""Reading what the e2e programs have written; see the heads of e2e_worker.c and e2e_producer.c."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Run:
    """One line of a worker's journal."""

    what: str  # S, E or C
    id: str
    token: int
    worker: str
    attempt: int
    mono_ns: int
    wall_ms: int
    queue: str


@dataclass(frozen=True)
class Ack:
    """One acknowledged enqueue."""

    id: str
    before_ns: int
    after_ns: int
    due_at_ms: int
    existing: int
    index: int
    queue: str


@dataclass
class Journal:
    """All runs, in the order of their lines."""

    runs: list[Run] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path) -> Journal:
        runs = []
        text = path.read_text() if path.exists() else ""
        for line in text.splitlines():
            what, task, token, worker, attempt, mono, wall, queue = line.split(" ")
            runs.append(
                Run(what, task, int(token), worker, int(attempt), int(mono), int(wall), queue)
            )
        return cls(runs)

    @property
    def starts(self) -> list[Run]:
        return [run for run in self.runs if run.what == "S"]

    @property
    def ends(self) -> list[Run]:
        return [run for run in self.runs if run.what == "E"]

    def lost(self, ids: list[str]) -> list[str]:
        """Acknowledged tasks that no handler has ended."""
        ended = {run.id for run in self.ends}
        return [task for task in ids if task not in ended]

    def repeated_starts(self) -> int:
        """Starts beyond the first of the same attempt of the same task."""
        counts = Counter((run.id, run.attempt) for run in self.starts)
        return sum(count - 1 for count in counts.values())

    def repeated_ends(self) -> int:
        """Ends beyond the first of the same attempt of the same task."""
        counts = Counter((run.id, run.attempt) for run in self.ends)
        return sum(count - 1 for count in counts.values())

    def token_faults(self) -> int:
        """Starts of a task whose token is not above that of its earlier starts."""
        highest: dict[str, int] = {}
        faults = 0
        for run in self.starts:
            faults += run.token <= highest.get(run.id, -1)
            highest[run.id] = max(run.token, highest.get(run.id, -1))
        return faults


class Tail:
    """Counts the lines of a growing journal by their first letter."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._at = 0
        self._counts: Counter[str] = Counter()

    def count(self, what: str) -> int:
        if self.path.exists():
            with open(self.path, "rb") as stream:
                stream.seek(self._at)
                fresh = stream.read()
            whole = fresh.rfind(b"\n") + 1
            self._at += whole
            self._counts.update(chr(line[0]) for line in fresh[:whole].splitlines())
        return self._counts[what]


def read_acks(path: Path) -> list[Ack]:
    acks = []
    for line in path.read_text().splitlines():
        what, *words = line.split(" ")
        if what == "A":
            task, before, after, due, existing, index, queue = words
            acks.append(
                Ack(task, int(before), int(after), int(due), int(existing), int(index), queue)
            )
    return acks
