"""One call of the benchmark: builds the systems, runs the rows round by round, collects records."""

from __future__ import annotations

import argparse
import sys
import time

from referee import recovery
from referee.detail import Detail
from referee.phases import Bounds, Case, Figures
from referee.processes import PhaseError
from referee.records import Axes, Records
from referee.rows import DETAIL, RECOVERY, ROWS, Row, why_not
from referee.servers import ServerError
from referee.systems import LIMIT, System, load
from referee.tables import MAIN, shown, titled


class Campaign:
    """Systems, rows, and what came out."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.records = Records()
        self.systems: list[System] = []
        self.bounds = Bounds(seconds=options.seconds, wait_s=options.recovery_s)
        self.rows = [
            row for row in ROWS if row.name in options.rows and (row.quick or not options.quick)
        ]
        self._refused: set[tuple[str, str, int]] = set()
        self._done = 0
        self._all = 0
        self._start = time.monotonic()

    def prepare(self) -> None:
        """Builds drivers and says what is there and what is not."""
        for name in self.options.only:
            system = load(name, self.options.build)
            self.systems.append(system)
            if system.why_not:
                self._skip(system.name, "all", system.why_not)
                continue
            print(f"{name:<10} {system.about['version']:<12} {system.about['runtime']}")
            for setting in system.settings():
                listed = system.about["settings"][setting].items()
                text = "; ".join(f"{option}: {value}" for option, value in listed) or "as it comes"
                print(f"  {setting:<8} {text}")
            if system.about.get("notes"):
                print(f"  notes    {system.about['notes']}")
            for row in dict.fromkeys(row.name for row in self.rows):
                first = next(member for member in self.rows if member.name == row)
                reason = why_not(first, system)
                if reason and system.name != LIMIT:
                    self._skip(system.name, row, reason)
        print(f"{len(self.plan())} phases of about {self.bounds.seconds:g} s\n", flush=True)

    def run(self) -> None:
        """All of it; Ctrl-C keeps what was measured until then."""
        try:
            self._rounds()
            if RECOVERY in self.options.rows:
                self._recover()
            if DETAIL in self.options.rows and "reeve" in self.options.only:
                detail = Detail(self.options.build, self.bounds, self.records)
                detail.run(self.options.runs, self.note)
        except KeyboardInterrupt:
            self._skip("all", "what was left", "interrupted")

    def plan(self) -> list[tuple[int, Row, Case]]:
        """Round, row and case, in the order of running."""
        rounds = max((row.runs(self.options.runs) for row in self.rows), default=0)
        return [
            (number, row, case)
            for number in range(rounds)
            for row in self.rows
            if number < row.runs(self.options.runs)
            for case in self._cases(row)
        ]

    def _rounds(self) -> None:
        """Interleaves: each round runs each row for one system after the other."""
        plan = self.plan()
        self._all = len(plan)
        self._start = time.monotonic()
        for number, row, case in plan:
            self._one(number, row, case)

    def note(self, text: str) -> None:
        """A line that says where we are: overwritten on a terminal."""
        if sys.stdout.isatty():
            print(f"\r\033[K{text}", end="", flush=True)
        elif text:
            print(text, flush=True)

    def _cases(self, row: Row) -> list[Case]:
        return [
            Case(system, setting, row.aof, self.bounds)
            for system in self.systems
            if not system.why_not and not why_not(row, system)
            for setting in system.settings()
            if setting in row.settings and setting in self.options.settings
        ]

    def _one(self, number: int, row: Row, case: Case) -> None:
        self._done += 1
        mark = (case.system.name, case.setting, id(row))
        if mark in self._refused:
            return
        name = f"{case.system.name} {case.setting}: {row.name}, {titled(row.axes)}"
        self.note(f"{self._bar()} {name}" if sys.stdout.isatty() else "")
        reason = row.refuses(case)
        try:
            if not reason:
                figures = row.phase(case)
        except (PhaseError, ServerError, OSError, ValueError) as error:
            reason = str(error)
        if reason:
            self._refused.add(mark)
            self._skip(
                f"{case.system.name} {case.setting}", f"{row.name}, {titled(row.axes)}", reason
            )
            return
        self.records.add(row.name, case.system.name, case.setting, row.axes, figures, number)
        if not sys.stdout.isatty():
            self.note(f"[{self._done}/{self._all}] {name}: {said(figures)}")

    def _recover(self) -> None:
        cases = [
            (Case(system, setting, "off", self.bounds), kill)
            for kill in recovery.KILLS
            for system in self.systems
            if not system.why_not and "hold" in system.handlers()
            if kill == "worker" or system.name not in recovery.ONE_PROCESS
            for setting in system.settings()
            if setting in self.options.settings
        ]
        self.note(f"recovery: {len(cases)} kills, up to {self.bounds.wait_s:.0f} s")

        for (case, kill), outcome in zip(cases, recovery.recover_all(cases), strict=True):
            axes: Axes = {"kill": kill, "wait_s": int(self.bounds.wait_s)}
            name, setting = case.system.name, case.setting
            if isinstance(outcome, str):
                self._skip(f"{name} {setting}", f"{RECOVERY}, {titled(axes)}", outcome)
            else:
                self.records.add(RECOVERY, name, setting, axes, outcome[0], 0, outcome[1])

    def _skip(self, system: str, row: str, why: str) -> None:
        self.records.skip(system, row, why)
        self.note("")
        print(f"skipped: {system}: {row}: {why}", flush=True)

    def _bar(self) -> str:
        share = self._done / max(self._all, 1)
        spent = time.monotonic() - self._start
        left = spent / max(self._done - 1, 1) * (self._all - self._done + 1)
        filled = round(share * 20)
        return f"[{'█' * filled}{'░' * (20 - filled)}] {share:4.0%} ~{left / 60:.0f} min left"


def said(figures: Figures) -> str:
    main = next(metric for metric in MAIN if metric in figures)
    return f"{shown(main, figures[main])} {main}"
