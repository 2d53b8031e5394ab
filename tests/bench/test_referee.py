"""The referee's own tests: what it counts, sums, compares and writes is what it says."""

# ruff: noqa: PT009, PT027 # unittest: the suites that need no environment have no pytest

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "peers")]

import common  # noqa: E402
from referee import phases, processes, rows, tables  # noqa: E402
from referee.records import UNITS, Records  # noqa: E402
from referee.systems import System  # noqa: E402

#: A driver in a few lines: it counts to --concurrency in a child and stamps once.
DRIVER = """
import os, signal, struct, sys, time
given = dict(zip(sys.argv[2::2], sys.argv[3::2]))
if sys.argv[1] == "produce":
    print('{"count": %s, "wall_s": 0.5, "cpu_s": 0.25}' % (int(given["--count"]) - {lost}))
    sys.exit(0)
if os.fork() == 0:
    slots = struct.pack("512Q", int(given["--concurrency"]), *[1] * 511)
    open(os.path.join(os.environ["BENCH_COUNTERS"], str(os.getpid())), "wb").write(slots)
    end = time.process_time() + 0.2
    while time.process_time() < end:
        pass
    open(os.environ["BENCH_STAMPS"], "w").write("5 9\\n")
    signal.pause()
print("ready", flush=True)
signal.pause()
"""


def is_alive(pid: int) -> bool:
    """Runs still; what only waits for its parent's wait() does not."""
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except OSError:
        return False


class Folder(unittest.TestCase):
    def setUp(self) -> None:
        place = tempfile.TemporaryDirectory()
        self.addCleanup(place.cleanup)
        self.folder = Path(place.name)

    def driver(self, lost: int = 0) -> list[str]:
        return [sys.executable, "-c", DRIVER.replace("{lost}", str(lost))]


class Processes(Folder):
    def test_counts_stamps_and_cpu_of_the_whole_tree(self) -> None:
        with processes.Worker(
            self.driver(), "url", self.folder, handler="noop", setting="best", concurrency=7
        ) as worker:
            worker.wait_ready()
            deadline = time.monotonic() + 20
            while not worker.stamps() and time.monotonic() < deadline:
                time.sleep(0.01)
            pids = [stat.pid for stat in processes.tree(worker.process.pid)]
            self.assertEqual(len(pids), 2)
            self.assertEqual(worker.counts(), {pids[1]: 7 + 511})
            self.assertEqual(worker.count(), 7 + 511)
            self.assertEqual(worker.stamps(), [(5, 9)])
            self.assertGreaterEqual(worker.cpu_s(), 0.18)
            self.assertGreater(worker.memory(), 1_000_000)
        for pid in pids:
            self.assertFalse(is_alive(pid), "a process of the worker is left")

    def test_a_worker_that_ends_is_told_with_its_last_words(self) -> None:
        command = [sys.executable, "-c", "import sys; sys.exit('no such broker')"]
        with (
            processes.Worker(
                command, "url", self.folder, handler="noop", setting="best", concurrency=1
            ) as worker,
            self.assertRaisesRegex(processes.PhaseError, "ended with 1: no such broker"),
        ):
            worker.wait_ready()

    def test_a_producer_that_stores_less_is_refused(self) -> None:
        def store(lost: int) -> dict[str, float]:
            return processes.produce(
                self.driver(lost),
                "url",
                self.folder,
                count=10,
                batch=1,
                handler="noop",
                setting="best",
            )

        self.assertEqual(store(0)["cpu_s"], 0.25)
        with self.assertRaisesRegex(processes.PhaseError, "stored 8 of 10"):
            store(2)


class Drivers(Folder):
    def test_payloads_have_the_size_that_was_asked_for(self) -> None:
        for handler in ("noop", "stamp"):
            words = ["produce", "--url", "u", "--handler", handler, "--count", "1000"]
            options = common.parse([*words, "--delay-ms", "500", "--spread-ms", "1000"])
            payloads = common.Payloads(options)
            for i in (0, 9, 10, 999):
                before = time.monotonic_ns()
                payload, delay_ms = payloads.one(i)
                self.assertEqual(len(json.dumps(payload, separators=(",", ":"))), 200)
                self.assertEqual(delay_ms, 500 + i)
                if handler == "stamp":
                    self.assertGreaterEqual(payload["t"], before + delay_ms * 1_000_000)

    def test_threads_and_forks_count_in_slots_of_their_own(self) -> None:
        script = """
import os, threading, common
def work():
    for _ in range(50_000):
        common.hit()
threads = [threading.Thread(target=work) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
if os.fork() == 0:
    common.hit()
    os._exit(0)
os.wait()
"""
        environment = {**os.environ, "BENCH_COUNTERS": str(self.folder)}
        environment["PYTHONPATH"] = str(HERE / "peers")
        subprocess.run([sys.executable, "-c", script], env=environment, check=True)
        sums = [sum(struct.unpack("512Q", path.read_bytes())) for path in self.folder.iterdir()]
        self.assertEqual(sorted(sums), [1, 200_000])

    def test_a_stamp_is_one_line(self) -> None:
        path = self.folder / "stamps"
        environment = {**os.environ, "BENCH_STAMPS": str(path)}
        environment["PYTHONPATH"] = str(HERE / "peers")
        script = "import common; common.stamp({'t': 3}); common.stamp({'t': 4})"
        subprocess.run([sys.executable, "-c", script], env=environment, check=True)
        self.assertEqual([line.split()[0] for line in path.read_text().splitlines()], ["3", "4"])


class Figures(unittest.TestCase):
    def records(self) -> Records:
        records = Records()
        for number, (ours, theirs) in enumerate([(100.0, 50.0), (300.0, 30.0), (200.0, 40.0)]):
            records.add("noop", "reeve", "best", {"aof": "off"}, {"rate": ours}, number)
            records.add("noop", "huey", "best", {"aof": "off"}, {"rate": theirs}, number)
        records.add("recovery", "huey", "best", {}, {"seconds": 20.0}, 2, "> 20 s: not seen")
        return records

    def test_ratios_are_of_the_same_round(self) -> None:
        listed = [line for line in tables.lines(self.records()) if "huey best" in line]
        self.assertIn("0.2×", listed[0])  # of 0.5, 0.1, 0.2; that of the medians, too
        records = Records()
        for number, (ours, theirs) in enumerate([(1.0, 2.0), (100.0, 100.0), (9.0, 90.0)]):
            records.add("noop", "reeve", "best", {}, {"rate": ours}, number)
            records.add("noop", "huey", "best", {}, {"rate": theirs}, number)
        self.assertIn("2×", next(line for line in tables.lines(records) if "huey" in line))

    def test_records_are_flat_and_name_the_rounds(self) -> None:
        found = json.loads(self.records().as_json({"runs": 3}))
        self.assertEqual(found["head"], {"runs": 3, "skipped": []})
        first = found["records"][0]
        self.assertEqual(first["unit"], UNITS["rate"])
        self.assertEqual(
            first["figures"], {"median": 200.0, "min": 100.0, "max": 300.0, "runs": [100, 300, 200]}
        )
        last = found["records"][-1]
        self.assertEqual(last["figures"]["runs"], [None, None, 20.0])
        self.assertEqual(last["note"], "> 20 s: not seen")

    def test_rows_are_refused_by_handler_and_by_pace(self) -> None:
        lonely = System("arq", [], {"handlers": ["anoop", "stamp"]})
        by_name = {(row.name, tuple(row.axes.values())): row for row in rows.ROWS}
        self.assertEqual(rows.why_not(by_name["enqueue", (1, "off")], lonely), "")
        self.assertIn("no handler `noop`", rows.why_not(by_name["noop", (10, 1, "off")], lonely))
        case = phases.Case(lonely, "best", "off", phases.Bounds())
        million = by_name["backlog", (1_000_000, 10)]
        self.assertIn("1,000,000 tasks would take", million.refuses(case))
        case.bounds.learn(("enqueue", "arq", "best", 100), 1e6)
        self.assertEqual(million.refuses(case), "")


class Runs(Folder):
    def test_a_run_is_measured_from_its_first_tenth_to_its_end(self) -> None:
        class Fake:
            """Has run ten more tasks of 2 ms of CPU each whenever it is asked."""

            done = 0

            def count(self) -> int:
                self.done = min(self.done + 10, 1000)
                return self.done

            def cpu_s(self) -> float:
                return self.done * 0.002

            def memory(self) -> int:
                return 5

            def check(self) -> None:
                pass

        fake = Fake()
        figures, span = phases.measure_run(fake, fake, 1000, 600.0)  # type: ignore[arg-type]
        self.assertAlmostEqual(figures["worker_cpu"], 2000)
        self.assertIn(round(figures["rate"] * span), range(870, 901))
        self.assertEqual(figures["rss"], 5.0)


if __name__ == "__main__":
    unittest.main()
