"""What the demo sees while it runs: counts of its two queues, over time."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from reeve import App, QueueInfo


@dataclass
class Shares:
    """How much of each queue was done while both had a backlog: there the weights decide."""

    done: dict[str, int] = field(default_factory=dict)
    _before: dict[str, QueueInfo] = field(default_factory=dict)

    def look(self, infos: dict[str, QueueInfo]) -> None:
        """Counts the step since the last look when neither queue ran dry in it."""
        before, self._before = self._before, infos
        if not before or any(i.pending == 0 for i in [*before.values(), *infos.values()]):
            return
        for name, info in infos.items():
            step = _finished(info) - _finished(before[name])
            self.done[name] = self.done.get(name, 0) + step

    def of(self, name: str) -> float | None:
        """Share of a queue, 0 … 1; None when they were never busy together."""
        total = sum(self.done.values())
        return self.done.get(name, 0) / total if total else None


def _finished(info: QueueInfo) -> int:
    return info.completed + info.archived


@dataclass
class Progress:
    """Counts of the demo's queues, read from the broker."""

    app: App
    names: list[str]
    total: int
    shares: Shares = field(default_factory=Shares)
    infos: dict[str, QueueInfo] = field(default_factory=dict)
    finished: int = 0
    moved_at: float = field(default_factory=time.monotonic)

    def look(self) -> int:
        """Reads the counts; how many jobs are done or dead."""
        infos = {info.name: info for info in self.app.queues() if info.name in self.names}
        if len(infos) == len(self.names):
            self.shares.look(infos)
        self.infos = infos
        finished = sum(_finished(info) for info in infos.values())
        if finished != self.finished:
            self.moved_at = time.monotonic()
        self.finished = finished
        return finished

    def stalled_for(self) -> float:
        """Seconds since something finished."""
        return time.monotonic() - self.moved_at
