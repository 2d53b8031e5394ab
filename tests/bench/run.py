"""The referee of reeve and its peers: `make bench`, or

    python tests/bench/run.py [--quick] [--only A,B] [--rows A,B] [--runs N] [--record] …

tests/bench/README.md says what is measured, how, and how to read it.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from pathlib import Path

from referee.campaign import Campaign
from referee.records import machine, today
from referee.rows import NAMES
from referee.servers import Redis
from referee.systems import GUESSES, ROOT
from referee.tables import lines

RECORD = ROOT / "docs" / "benchmarks.json"


def names(known: list[str]) -> object:
    """A comma-separated list of known names."""

    def parse(text: str) -> list[str]:
        given = [name.strip() for name in text.split(",") if name.strip()]
        for name in given:
            if name not in known:
                raise argparse.ArgumentTypeError(f"{name} is none of {', '.join(known)}")
        return given

    return parse


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--build", type=Path, default=ROOT / "build-bench")
    parser.add_argument("--quick", action="store_true", help="fewer runs, rows and seconds")
    parser.add_argument("--only", type=names(list(GUESSES)), default=list(GUESSES))  # type: ignore[arg-type]
    parser.add_argument("--rows", type=names(NAMES), default=NAMES)  # type: ignore[arg-type]
    parser.add_argument("--settings", type=names(["default", "best"]))  # type: ignore[arg-type]
    parser.add_argument("--runs", type=int, help="paired runs; 3, or 1 with --quick")
    parser.add_argument("--seconds", type=float, help="length of a phase; 1, or 0.5 with --quick")
    parser.add_argument(
        "--recovery-s", type=float, help="wait for a killed worker's task; 45 or 20"
    )
    parser.add_argument("--json", type=Path, help="where records go; build-bench/bench.json")
    parser.add_argument("--record", action="store_true", help=f"write {RECORD.name} for the page")
    parser.add_argument("--list", action="store_true", help="say what would run, and stop")
    found = parser.parse_args()
    found.settings = found.settings or (["best"] if found.quick else ["default", "best"])
    found.runs = found.runs or (1 if found.quick else 3)
    found.seconds = found.seconds or (0.5 if found.quick else 1.0)
    found.recovery_s = found.recovery_s or (20.0 if found.quick else 45.0)
    return found


def command(words: list[str]) -> str:
    """The call as a reader repeats it: without folders, which are a machine's own."""
    kept, skip = [], False
    for word in words:
        if skip or word in ("--build", "--json"):
            skip = not skip
        elif not word.startswith(("--build=", "--json=")):
            kept.append(word)
    return f'make bench BENCH="{shlex.join(kept)}"' if kept else "make bench"


def main() -> None:
    given = options()
    start = time.monotonic()
    campaign = Campaign(given)
    campaign.prepare()
    if given.list:
        return
    campaign.run()
    campaign.note("")
    seconds = time.monotonic() - start
    with Redis() as redis:
        version = redis.version()
    head = {
        "date": today(),
        "machine": machine(),
        "redis": version,
        "seconds": round(seconds),
        "runs": given.runs,
        "profile": "quick" if given.quick else "full",
        "command": command(sys.argv[1:]),
        "systems": {system.name: system.about for system in campaign.systems if system.about},
    }
    text = campaign.records.as_json(head)
    for path in [given.json or given.build / "bench.json", *([RECORD] if given.record else [])]:
        path.write_text(text)
    print("\n".join(lines(campaign.records)))
    print(f"\nmedians; ratios to reeve's best in the same rounds; {seconds / 60:.1f} minutes")


if __name__ == "__main__":
    main()
