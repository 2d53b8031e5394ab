"""The guard's own tests: that a rise fails, whatever its kind, and nothing passes unseen."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
import tempfile
import unittest
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import check  # noqa: E402
import check_counts  # noqa: E402

HERE_KIND = {"compiler": "gcc 12", "libc": "glibc 2.36"}


def problems(
    everywhere: check_counts.Costs, own: check_counts.Costs, now: check_counts.Costs
) -> list[str]:
    rows = check.compare(everywhere, own, check.BOUND_PERCENT, now)
    return [row.problem for row in rows if row.problem]


def fails(call: Callable[[], object]) -> bool:
    try:
        call()
    except check_counts.CheckError:
        return True
    return False


class Comparison(unittest.TestCase):
    def test_a_rise_of_a_fifth_fails_and_is_named(self) -> None:
        for name in ("redis turn: commands", "mem work: allocations", "redis turn: system calls"):
            found = problems({name: 10.0}, {}, {name: 12.0})
            assert len(found) == 1
            assert f"{name} is 12, the bound is 11.5" in found[0]
        name = "core build: instructions"
        found = problems({}, {name: 1000.0}, {name: 1200.0})
        assert f"{name} is 1200, the bound is 1150" in found[0]

    def test_a_rise_within_the_bound_and_a_fall_pass(self) -> None:
        for now in (11.4, 10.0, 1.0, 0.0):
            assert problems({"a: commands": 10.0}, {}, {"a: commands": now}) == []

    def test_nothing_may_become_something(self) -> None:
        assert len(problems({"a: commands": 0.0}, {}, {"a: commands": 0.1})) == 1
        assert problems({"a: commands": 0.0}, {}, {"a: commands": 0.0}) == []

    def test_small_costs_are_bounded_too(self) -> None:
        name = "redis turn, 32 a call: scripts"
        assert len(problems({name: 0.031}, {}, {name: 0.0625})) == 1

    def test_a_cost_without_a_budget_fails(self) -> None:
        found = problems({}, {}, {"a: commands": 1.0, "a: instructions": 1.0})
        assert len(found) == 2
        assert "has no budget" in found[0]

    def test_a_budget_that_nothing_is_measured_for_fails(self) -> None:
        found = problems({"a: commands": 1.0}, {"a: instructions": 1.0}, {})
        assert len(found) == 2
        assert "was not measured" in found[0]

    def test_the_guard_reports_it_by_its_exit_status(self) -> None:
        rows = check.compare({"a: commands": 10.0}, {}, 15.0, {"a: commands": 12.0})
        with contextlib.redirect_stdout(io.StringIO()) as told:
            assert check.report(rows, None, False) == 1
            assert check.report(rows, None, True) == 1
            rows = check.compare({"a: commands": 10.0}, {}, 15.0, {"a: commands": 10.0})
            assert check.report(rows, None, False) == 0
        assert "bench-check: a: commands is 12" in told.getvalue()


class Machines(unittest.TestCase):
    def setUp(self) -> None:
        self.budgets: check.Budgets = {
            "everywhere": {"a: commands": 1.0},
            "machines": [
                {"machine": {"compiler": "clang 14", "libc": "other"}, "costs": {}},
                {"machine": HERE_KIND, "costs": {"a: instructions": 100.0}},
            ],
        }

    def test_the_same_machine_has_the_narrow_bound(self) -> None:
        costs, percent, note = check.choose(self.budgets, HERE_KIND)
        assert (costs, percent, note) == ({"a: instructions": 100.0}, 15.0, None)

    def test_a_strange_machine_is_compared_all_the_same_and_told(self) -> None:
        here = {**HERE_KIND, "compiler": "gcc 13"}
        costs, percent, note = check.choose(self.budgets, here)
        assert (costs, percent) == ({"a: instructions": 100.0}, check.STRANGER_PERCENT)
        assert "compiler gcc 13 instead of gcc 12" in str(note)
        rows = check.compare(
            self.budgets["everywhere"], costs, percent, {"a: instructions": 150.0, "a: commands": 1}
        )
        assert [bool(row.problem) for row in rows] == [False, True]

    def test_commands_are_not_excused_by_a_strange_machine(self) -> None:
        rows = check.compare({"a: commands": 10.0}, {}, 40.0, {"a: commands": 12.0})
        assert rows[0].problem

    def test_writing_keeps_the_budgets_of_others(self) -> None:
        here = {**HERE_KIND, "compiler": "gcc 13"}
        now = {"a: instructions": 90.0, "a: commands": 2.0}
        after = check.with_new(self.budgets, here, now, {"a"})
        assert after["everywhere"] == {"a: commands": 2.0}
        assert len(after["machines"]) == 3
        assert after["machines"][1]["costs"] == {"a: instructions": 100.0}
        assert check.choose(after, here) == ({"a: instructions": 90.0}, 15.0, None)


class Instruments(unittest.TestCase):
    def test_one_that_fails_is_asked_once_more(self) -> None:
        bench = check_counts.Bench(Path(), Path())
        tries = []

        def subject(_: check_counts.Bench) -> check_counts.Costs:
            tries.append(1)
            if len(tries) == 1:
                raise check_counts.CheckError("no port")
            return {"commands": 1.0}

        assert check.counted(subject, bench) == {"commands": 1.0}

        def broken(_: check_counts.Bench) -> check_counts.Costs:
            tries.append(1)
            raise check_counts.CheckError("no strace")

        assert fails(lambda: check.counted(broken, bench))
        assert len(tries) == 4


class Strace(unittest.TestCase):
    def test_counts_between_the_marks(self) -> None:
        text = (
            "read(3, 0x1, 5) = 5\ngetppid() = 7\n"
            'pwrite64(3, "x", 100, 0) = 100\n'
            "recvfrom(4, 0x1, 9, 0, NULL, NULL) = -1 EAGAIN (Resource temporarily unavailable)\n"
            "poll([{fd=4}], 1, 10) = 1 ([{fd=4}])\nfcntl(3, F_SETLK) = 0\n"
            "getppid() = 7\nwrite(1, 0x1, 5) = 5\n"
        )
        assert check_counts.count_calls(text) == (2, 100)

    def test_refuses_a_log_without_marks(self) -> None:
        assert fails(lambda: check_counts.count_calls("read(3, 0x1, 5) = 5\n"))


class Whole(unittest.TestCase):
    """The command, on the quickest subject, with budgets of what it measures itself."""

    def run_check(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(HERE / "check.py"), "--only", "core settle", *words]
        return subprocess.run(command, capture_output=True, text=True)

    def test_lowered_budgets_make_it_fail(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "budgets.json"
            unknown = self.run_check("--budgets", str(path))
            assert unknown.returncode == 1, unknown.stderr
            assert "has no budget" in unknown.stdout
            assert self.run_check("--budgets", str(path), "--write").returncode == 0
            same = self.run_check("--budgets", str(path))
            assert same.returncode == 0, same.stdout + same.stderr
            budgets = json.loads(path.read_text())
            costs = budgets["machines"][0]["costs"]
            name = "core settle: instructions"
            costs[name] /= 1.2
            path.write_text(json.dumps(budgets))
            risen = self.run_check("--budgets", str(path))
            assert risen.returncode == 1, risen.stdout
            assert f"bench-check: {name} is" in risen.stdout

    def test_a_build_that_says_nothing_is_refused(self) -> None:
        missing = self.run_check("--build", "/nowhere")
        assert missing.returncode == 2
        assert "check_cost is missing" in missing.stderr


if __name__ == "__main__":
    unittest.main()
