"""What a task costs in Python, for check.py: check_cost_python.py CASE COUNT

    enqueue   task.enqueue, one a call, into memory
    many      task.enqueue_many, 32 a call, into memory
    run       claim, decode, call a handler that does nothing, encode, settle

All in one thread, on the virtual clock of reeve.testing.
"""

from __future__ import annotations

import sys

from reeve import App
from reeve.testing import harness

BATCH = 32
PAYLOAD = "x" * 180


def main() -> None:
    case, count = sys.argv[1], int(sys.argv[2])
    app = App()
    runs = 0

    @app.task
    def noop(text: str) -> None:
        nonlocal runs
        runs += 1

    with harness(app, concurrency=BATCH) as h:
        if case == "enqueue":
            for _ in range(count):
                noop.enqueue(PAYLOAD)
            return
        for _ in range(count // BATCH):
            noop.enqueue_many([(PAYLOAD,)] * BATCH)
            if case == "run":
                h.run_once()
        if case == "run" and runs != count:
            sys.exit(f"check_cost_python: {runs} of {count} tasks ran")


if __name__ == "__main__":
    main()
