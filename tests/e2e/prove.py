"""Proves the guarantees with real processes and real servers, and prints the figures.

    python3 tests/e2e/prove.py [ITEM…] [--broker redis|sqlite|both] [--rounds N] [--short]
                               [--json] [--build DIR]

ITEM… is any of the names that --list shows; none means all of them. Exit 1 when a claim does not
hold. REEVE_PROVE_KEEP=1 keeps the folder with journals and logs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from proof import (  # noqa: E402
    damage,
    kills,
    lua,
    order,
    outages,
    pills,
    punctual,
    sharing,
    strangers,
    supervised,
)
from proof.stage import ROOT, Check, Stage  # noqa: E402

BOTH = ("redis", "sqlite")
REDIS = ("redis",)


@dataclass(frozen=True)
class Item:
    """One proof: what to call with how many rounds (or tasks) in its two forms. One without a short
    form is too slow for the test suite: it waits for deadlines."""

    run: Callable[[Stage, int], None]
    full: int
    short: int
    brokers: tuple[str, ...] = BOTH


def _delayed(stage: Stage, tasks: int) -> None:
    full = tasks >= 10000
    punctual.delayed(stage, tasks, 1000000 if full and stage.broker == "redis" else 0)


def _strangers(stage: Stage, _: int) -> None:
    strangers.strangers(stage)


ITEMS: dict[str, Item] = {
    "kills": Item(kills.kills, 100, 1),
    "terms": Item(kills.terms, 20, 1),
    "pills": Item(pills.pills, 20, 1),
    "fencing": Item(kills.fencing, 10, 1),
    "takeover": Item(kills.takeover, 20, 1),
    "reclaimed": Item(kills.reclaimed, 20, 1),
    "lua-kills": Item(lua.lua_kills, 20, 1),
    "lua-terms": Item(lua.lua_terms, 10, 1),
    "lua-crashes": Item(lua.lua_crashes, 10, 1, REDIS),
    "supervised": Item(supervised.supervised, 20, 1),
    "crashes": Item(outages.crashes, 20, 1, REDIS),
    "idle": Item(outages.idle, 10, 1, REDIS),
    "cuts": Item(outages.cuts, 20, 1, REDIS),
    "keys": Item(outages.keys, 2000, 200, REDIS),
    "stalls": Item(outages.stalls, 10, 1, REDIS),
    "outage": Item(outages.outage, 3, 0, REDIS),
    "down": Item(outages.down, 3, 0, REDIS),
    "full": Item(outages.full, 50000, 20000, REDIS),
    "flushed": Item(outages.flushed, 20000, 1000, REDIS),
    "damaged": Item(damage.damaged, 5000, 1000, REDIS),
    "weights": Item(order.weights, 100000, 10000),
    "ageing": Item(order.ageing, 10000, 2000),
    "changed": Item(order.changed, 10000, 2000),
    "delayed": Item(_delayed, 10000, 500),
    "latency": Item(punctual.latency, 2000, 100),
    "wakeup": Item(punctual.wakeup, 2000, 100),
    "forks": Item(sharing.forks, 2000, 200),
    "threads": Item(sharing.threads, 20000, 2000),
    "strangers": Item(_strangers, 1, 1, REDIS),
}


def prove(
    name: str, broker: str, build: Path, amount: int | None, short: bool, quiet: bool
) -> list[Check]:
    """Runs one item on one broker."""
    item = ITEMS[name]
    with Stage(build, broker, quiet) as stage:
        item.run(stage, amount or (short and item.short) or item.full)
        stage.check_logs(name)
        return stage.checks


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("items", nargs="*", metavar="ITEM", help="all when none is named")
    parser.add_argument("--broker", choices=[*BOTH, "both"], default="both")
    parser.add_argument("--rounds", type=int, help="rounds, or tasks, of each item")
    parser.add_argument("--short", action="store_true", help="as the test suite does")
    parser.add_argument("--json", action="store_true", help="one JSON line a check")
    parser.add_argument("--list", action="store_true", help="show the items and leave")
    parser.add_argument(
        "--build", type=Path, default=Path(os.environ.get("REEVE_BUILD_DIR", ROOT / "build-dev"))
    )
    args = parser.parse_args()
    unknown = [name for name in args.items if name not in ITEMS]
    if unknown:
        parser.error(f"no such item: {', '.join(unknown)}; known are {', '.join(ITEMS)}")
    return args


def main() -> int:
    args = parse()
    if args.list:
        for name, item in ITEMS.items():
            print(f"{name:<10} {item.full:>7} ({item.short} in short) {', '.join(item.brokers)}")
        return 0
    checks: list[Check] = []
    brokers = BOTH if args.broker == "both" else (args.broker,)
    names = args.items or [name for name, item in ITEMS.items() if item.short or not args.short]
    for name in names:
        for broker in (b for b in brokers if b in ITEMS[name].brokers):
            start = time.monotonic()
            if not args.json:
                print(f"{name} on {broker}", flush=True)
            try:
                done = prove(name, broker, args.build, args.rounds, args.short, args.json)
            except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
                done = [Check(f"{name} on {broker}", False, {"error": str(error)})]
                if not args.json:
                    print(f"  FAIL {error}", flush=True)
            checks += done
            if args.json:
                for check in done:
                    print(json.dumps({"item": name, "broker": broker, **asdict(check)}), flush=True)
            else:
                print(f"  ({time.monotonic() - start:.1f} s)", flush=True)
    failed = sum(not check.good for check in checks)
    print(f"{len(checks) - failed} held, {failed} did not", file=sys.stderr if args.json else None)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
