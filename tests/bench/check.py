"""Fails when a counted cost has risen: `make bench-check`, or

    python tests/bench/check.py [--build DIR] [--only PART…] [--json] [--write] [--budgets FILE]

Costs are counts (instructions, commands, system calls, allocations, bytes), so the load of the
machine does not matter. Each is compared with budgets.json; more than 15 % above is a failure, and
so is a cost without a budget or a budget that nothing is measured for.

Instructions, and what SQLite asks of the system, belong to a compiler and to versions of
libraries. budgets.json has them for each such set. On a machine whose set is not there they are
compared with those of the most similar set, at 40 %, and a line says so; --write adds its own.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypedDict

from check_counts import ROOT, Bench, CheckError, Costs, Subject, instruments, machine, subjects

BUDGETS = Path(__file__).resolve().parent / "budgets.json"
BOUND_PERCENT = 15.0
STRANGER_PERCENT = 40.0
#: As far from the budget as what was measured may be rounded.
ROUNDING = 0.0011


class Kind(TypedDict):
    """Costs of machines that count alike."""

    machine: dict[str, str]
    costs: Costs


class Budgets(TypedDict):
    everywhere: Costs
    machines: list[Kind]


@dataclass(frozen=True)
class Row:
    """One cost against its budget; None where there is none."""

    name: str
    budget: float | None
    now: float | None
    bound_percent: float

    @property
    def change_percent(self) -> float | None:
        if self.now is None or not self.budget:
            return None
        return 100.0 * (self.now / self.budget - 1.0)

    @property
    def problem(self) -> str | None:
        """Why this fails, or None."""
        if self.budget is None:
            return f"{self.name} has no budget; --write sets one"
        if self.now is None:
            return f"{self.name} has a budget and was not measured; --write drops it"
        if self.now <= self.budget * (1.0 + self.bound_percent / 100.0) + ROUNDING:
            return None
        bound = self.budget * (1.0 + self.bound_percent / 100.0)
        return (
            f"{self.name} is {show(self.now)}, the bound is {show(bound)}: {self.bound_percent:.0f}"
            f" % above its budget of {show(self.budget)}"
        )


def show(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 1000 else f"{value:.3f}".rstrip("0").rstrip(".")


def belongs_to_machine(name: str) -> bool:
    """Whether another compiler or library may count otherwise."""
    cost = name.rsplit(": ", 1)[1]
    library = name.startswith("sqlite") and cost in ("system calls", "bytes written")
    return cost in ("instructions", "bytes stored") or library


def compare(everywhere: Costs, own: Costs, own_percent: float, now: Costs) -> list[Row]:
    """A row for each cost that is measured or has a budget."""
    rows = []
    for name in sorted({*everywhere, *own, *now}):
        mine = belongs_to_machine(name)
        budget = (own if mine else everywhere).get(name)
        percent = own_percent if mine else BOUND_PERCENT
        rows.append(Row(name, budget, now.get(name), percent))
    return rows


def likeness(kind: Kind, here: dict[str, str]) -> int:
    return sum(kind["machine"].get(name) == value for name, value in here.items())


def choose(budgets: Budgets, here: dict[str, str]) -> tuple[Costs, float, str | None]:
    """Budgets of this machine or of the most similar one, their bound, and a stranger's note."""
    if not budgets["machines"]:
        return {}, BOUND_PERCENT, None
    best = max(budgets["machines"], key=lambda kind: likeness(kind, here))
    differing = [
        f"{name} {here.get(name, 'none')} instead of {best['machine'].get(name, 'none')}"
        for name in sorted({*here, *best["machine"]})
        if here.get(name) != best["machine"].get(name)
    ]
    if not differing:
        return best["costs"], BOUND_PERCENT, None
    note = (
        f"no budgets of instructions for this machine ({', '.join(differing)}): compared at"
        f" {STRANGER_PERCENT:.0f} %; --write adds its own"
    )
    return best["costs"], STRANGER_PERCENT, note


def with_new(budgets: Budgets, here: dict[str, str], now: Costs, measured: set[str]) -> Budgets:
    """Budgets with what was measured now in place of what was there of the same subjects."""

    def kept(costs: Costs) -> Costs:
        return {name: value for name, value in costs.items() if subject_of(name) not in measured}

    own: Costs = {}
    others = []
    for kind in budgets["machines"]:
        if kind["machine"] == here:
            own = kept(kind["costs"])
        else:
            others.append(kind)
    everywhere = kept(budgets["everywhere"])
    for name, value in now.items():
        (own if belongs_to_machine(name) else everywhere)[name] = round(value, 3)
    mine: Kind = {"machine": here, "costs": dict(sorted(own.items()))}
    return {"everywhere": dict(sorted(everywhere.items())), "machines": [*others, mine]}


def subject_of(name: str) -> str:
    return name.rsplit(": ", 1)[0]


def counted(subject: Subject, bench: Bench) -> Costs:
    """One subject's costs. A server whose port somebody else took is tried once more; a cost never
    is."""
    try:
        return subject(bench)
    except (CheckError, RuntimeError, TimeoutError):
        return subject(bench)


def measure(bench: Bench, names: list[str]) -> Costs:
    """All costs of these subjects. Waiting is most of what idle does, so one job more than
    processors."""
    found: Costs = {}
    table = subjects()
    with ThreadPoolExecutor((os.cpu_count() or 1) + 1) as pool:
        jobs = {name: pool.submit(counted, table[name], bench) for name in names}
        for done, (name, job) in enumerate(jobs.items(), 1):
            for cost, value in job.result().items():
                found[f"{name}: {cost}"] = value
            if sys.stderr.isatty():
                print(f"\r\033[K{done}/{len(jobs)} {name}", end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)
    return found


def read(path: Path) -> Budgets:
    if not path.exists():
        return {"everywhere": {}, "machines": []}
    budgets: Budgets = json.loads(path.read_text())
    return budgets


def print_table(rows: list[Row]) -> None:
    width = max(len(row.name) for row in rows)
    print(f"{'cost of a task':<{width}}  {'budget':>9}  {'now':>9}  {'change':>8}")
    for row in rows:
        change = row.change_percent
        text = f"{change:+.1f} %" if change is not None else ""
        mark = "  FAIL" if row.problem else ""
        print(f"{row.name:<{width}}  {show(row.budget):>9}  {show(row.now):>9}  {text:>8}{mark}")


def report(rows: list[Row], note: str | None, as_json: bool) -> int:
    """Prints; the exit status."""
    problems = [row.problem for row in rows if row.problem]
    if as_json:
        lines = [asdict(row) | {"problem": row.problem} for row in rows]
        print(json.dumps({"note": note, "costs": lines}))
        return 1 if problems else 0
    print_table(rows)
    for line in [note] if note else []:
        print(f"note: {line}")
    lower = [row for row in rows if (row.change_percent or 0.0) < -row.bound_percent]
    if lower:
        print(
            f"note: {len(lower)} costs are far below their budgets, which guard nothing there:"
            " take new ones with --write"
        )
    for problem in problems:
        print(f"bench-check: {problem}")
    print(f"{len(rows)} costs, {len(problems)} above their bounds")
    return 1 if problems else 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--build", type=Path, default=Path(os.environ.get("REEVE_BUILD_DIR", ROOT / "build-dev"))
    )
    parser.add_argument("--budgets", type=Path, default=BUDGETS)
    parser.add_argument("--only", nargs="+", default=[], metavar="PART", help="of subjects' names")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    parser.add_argument("--write", action="store_true", help="take what is measured as budgets")
    return parser.parse_args()


def check(args: argparse.Namespace) -> int:
    names = [
        name for name in subjects() if not args.only or any(part in name for part in args.only)
    ]
    if not names:
        raise CheckError(f"no subject has {' or '.join(args.only)} in its name")
    instruments()
    with tempfile.TemporaryDirectory(prefix="reeve-check-") as scratch:
        bench = Bench(args.build.resolve(), Path(scratch))
        here = machine(bench)
        now = measure(bench, names)
    budgets = read(args.budgets)
    own, percent, note = choose(budgets, here)
    known = set(subjects()) - set(names)  # what was left out on purpose

    def wanted(costs: Costs) -> Costs:
        return {name: value for name, value in costs.items() if subject_of(name) not in known}

    rows = compare(wanted(budgets["everywhere"]), wanted(own), percent, now)
    if not args.write:
        return report(rows, note, args.json)
    measured = set(names) | ({subject_of(row.name) for row in rows} if not args.only else set())
    text = json.dumps(with_new(budgets, here, now, measured), indent=1)
    args.budgets.write_text(text + "\n")
    print_table(rows)
    print(f"{args.budgets} is written: the commit says why each cost rose")
    return 0


def main() -> int:
    try:
        return check(parse())
    except (CheckError, RuntimeError, OSError) as error:
        print(f"bench-check: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
