"""The page and the pictures that tests/bench/report.py makes of records."""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "bench" / "report.py"
UNITS = {"rate": "tasks/s", "p50": "ms", "p99": "ms", "seconds": "s", "memory": "bytes/task"}
OFF = {"aof": "off"}
SVG = "{http://www.w3.org/2000/svg}"


@dataclass
class Bench:
    """A folder with records, and what the script makes of them."""

    folder: Path
    records: list[dict[str, Any]] = field(default_factory=list)
    skipped: list[dict[str, str]] = field(default_factory=list)
    reasons: str = ""

    def add(
        self,
        row: str,
        metric: str,
        system: str,
        *runs: float | None,
        setting: str = "best",
        note: str = "",
        **axes: Any,
    ) -> None:
        held = [run for run in runs if run is not None]
        self.records.append(
            {
                "row": row,
                "metric": metric,
                "system": system,
                "setting": setting,
                "axes": axes,
                "unit": UNITS.get(metric, "µs/task"),
                "figures": {
                    "median": statistics.median(held),
                    "min": min(held),
                    "max": max(held),
                    "runs": list(runs),
                },
                "note": note,
            }
        )

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        about = {
            name: {"name": name, "version": "1.2", "runtime": "C", "settings": {"best": {}}}
            for name in {record["system"] for record in self.records}
        }
        head = {"date": "2026-01-02", "redis": "7", "systems": about, "skipped": self.skipped}
        given = self.folder / "given.json"
        given.write_text(json.dumps({"head": head, "records": self.records}))
        (self.folder / "reasons.toml").write_text(self.reasons)
        command = [sys.executable, str(SCRIPT), "--json", str(given), "--out", str(self.folder)]
        return subprocess.run(
            [*command, "--reasons", str(self.folder / "reasons.toml"), *words],
            capture_output=True,
            text=True,
        )

    def page(self) -> str:
        done = self.run()
        assert done.returncode == 0, done.stderr
        return (self.folder / "benchmarks.md").read_text()

    def pictures(self) -> dict[str, ET.Element]:
        return {
            path.stem: ET.fromstring(path.read_text())
            for path in (self.folder / "benchmarks").glob("*.svg")
        }


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A C producer, a peer and the bare list."""
    made = Bench(tmp_path)
    for system, rate in (("reeve-c", 500_000.0), ("asynq", 30_000.0), ("limit", 2e6)):
        made.add("enqueue", "rate", system, rate, rate, batch=100, **OFF)
        made.add("enqueue", "memory", system, 1e8 / rate, batch=100, **OFF)
    return made


def line_of(page: str, start: str) -> list[str]:
    """The cells of the first line of a table that starts so."""
    line = next(line for line in page.splitlines() if line.startswith(f"| {start}"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def texts(picture: ET.Element) -> list[str]:
    return [element.text or "" for element in picture.iter(f"{SVG}text")]


def test_an_aim_that_is_met(bench: Bench) -> None:
    cells = line_of(bench.page(), "C producer, 100 a call")
    assert cells[1:7] == [
        "≥ 400,000 tasks/s",
        "",
        "500,000 tasks/s",
        "30,000 tasks/s, asynq (Go)",
        "16.7×",
        "yes",
    ]


def test_an_aim_that_is_not_met_says_why(bench: Bench) -> None:
    bench.add("latency", "p99", "reeve-c", 2.5, concurrency=10)
    bench.reasons = 'latency-p99 = "two cores for three processes"\nc-producer = "unused"\n'
    page = bench.page()
    cells = line_of(page, "start latency on an idle worker, p99")
    assert cells[3] == "2.50 ms"
    assert cells[6:] == ["no", "two cores for three processes"]
    assert "unused" not in page


def test_an_aim_is_judged_at_the_machines_pace_too(bench: Bench) -> None:
    """The bare list takes four times as long here: an aim is met that takes three times as long."""
    bench.add("detail", "redis_cpu", "limit", 1.36, what="cycle, batch 32", broker="redis")
    bench.add("noop", "rate", "reeve-c", 100_000.0, concurrency=100, **OFF)
    page = bench.page()
    cells = line_of(page, "C worker, no-op, one process")
    assert cells[1:4] == ["≥ 300,000 tasks/s", "≥ 75,000", "100,000 tasks/s"]
    assert cells[6:] == ["at this pace", ""]
    assert "here it spends 1.36" in page
    assert "c-worker" not in bench.run().stdout


def test_an_aim_without_a_reason_is_named(bench: Bench) -> None:
    bench.add("latency", "p99", "reeve-c", 2.5, concurrency=10)
    assert "not met and without a reason: latency-p99" in bench.run().stdout


def test_an_aim_that_was_not_measured(bench: Bench) -> None:
    assert line_of(bench.page(), "Lua worker")[6] == "not measured"


def test_a_reason_for_no_aim_is_refused(bench: Bench) -> None:
    bench.reasons = 'c-produces = "typing error"\n'
    done = bench.run()
    assert done.returncode == 1
    assert "there is no aim 'c-produces'" in done.stderr
    assert not (bench.folder / "benchmarks.md").exists()


def test_ratios_are_of_the_same_round(bench: Bench) -> None:
    """The machine was slow in the second round: the ratio is 2 all the same."""
    bench.add("noop", "rate", "reeve", 100.0, 10.0, 80.0, concurrency=10, **OFF)
    bench.add("noop", "rate", "celery", 50.0, 5.0, None, concurrency=10, **OFF)
    page = bench.page()
    assert line_of(page, "Celery | best | 27.5")[-1] == "0.500×"


def test_a_missing_system_says_why(bench: Bench) -> None:
    bench.skipped.append({"system": "bullmq", "row": "all", "why": "node is not installed"})
    page = bench.page()
    assert line_of(page, "BullMQ (Node)") == ["BullMQ (Node)", "all", "node is not installed"]
    assert "not measured: node is not installed" in texts(bench.pictures()["enqueue-many"])


def test_a_figure_that_was_not_seen_is_a_bound(bench: Bench) -> None:
    bench.add("recovery", "seconds", "rq", 90.0, note="> 90 s: not seen within that time")
    bench.add("recovery", "seconds", "reeve", 30.2)
    bench.add("recovery", "seconds", "asynq", 95.0)
    page = bench.page()
    assert "| RQ | best | > 90.0 |" in page
    assert "> 90.0" in texts(bench.pictures()["recovery"])
    # What was not seen within 90 s is not better than what was seen after 95.
    assert line_of(page, "a killed worker's task")[4] == "95.0 s, asynq (Go)"


def test_a_bound_within_the_aim_decides_nothing(bench: Bench) -> None:
    bench.add("recovery", "seconds", "reeve", 20.0, note="> 20 s: not seen within that time")
    assert line_of(bench.page(), "a killed worker's task")[6] == "not measured"


def test_a_bound_past_the_aim_is_not_met(bench: Bench) -> None:
    bench.add("recovery", "seconds", "reeve", 45.0, note="> 45 s: not seen within that time")
    assert line_of(bench.page(), "a killed worker's task")[6] == "no"


def test_early_starts_are_no_punctuality(bench: Bench) -> None:
    for system, usual, late in (("reeve-c", 0.4, 2.0), ("asynq", -480.0, 1.0), ("rq", 9.0, 30.0)):
        bench.add("lateness", "p50", system, usual, scheduled=1_000_000)
        bench.add("lateness", "p99", system, late, scheduled=1_000_000)
    page = bench.page()
    assert line_of(page, "lateness with")[3:5] == ["2.00 ms", "30.0 ms, RQ"]


def test_a_peer_with_async_handlers_only_is_a_peer(bench: Bench) -> None:
    for system, row, cost in (
        ("reeve-c", "noop", 2.0),
        ("asynq", "noop", 30.0),
        ("arq", "anoop", 9),
    ):
        bench.add("enqueue", "redis_cpu", system, 1.0, batch=100, **OFF)
        bench.add(row, "redis_cpu", system, float(cost), concurrency=100, **OFF)
    cells = line_of(bench.page(), "Redis CPU, enqueue to settled, batched")
    assert cells[3:5] == ["3.00 µs/task", "10.0 µs/task, arq"]


def test_sqlite_counts_both_ways_of_a_task(bench: Bench) -> None:
    """100,000 in and 25,000 out a second are 20,000 through."""
    for what, rate in (
        ("C enqueue_many, 100 a call", 100_000.0),
        ("C worker, poll face, concurrency 100", 25_000.0),
    ):
        bench.add("detail", "rate", "reeve-c", rate, setting="default", what=what, broker="sqlite")
    page = bench.page()
    assert line_of(page, "SQLite")[3] == "20,000 tasks/s"
    assert "| reeve (C) | C enqueue_many, 100 a call, broker sqlite | 100,000 |" in page


def test_pictures_are_whole(bench: Bench) -> None:
    for system, factor in (
        ("reeve", 1.0),
        ("asynq", 40.0),
        ("rq", 4000.0),
        ("limit", 0.1),
    ):
        bench.add("noop", "worker_cpu", system, 9 * factor, concurrency=10, **OFF)
        bench.add("noop", "redis_cpu", system, 3 * factor, concurrency=10, **OFF)
        bench.add("lateness", "p50", system, -400.0, scheduled=0)
        bench.add("lateness", "p99", system, 2 * factor, scheduled=0)
    for processes in (1, 2, 4, 8):
        for queues in (1, 4):
            axes: dict[str, Any] = {"processes": processes, "queues": queues}
            bench.add("scale-workers", "rate", "reeve-c", 1e5 * processes, **axes)
    page = bench.page()
    pictures = bench.pictures()
    assert set(pictures) == set(re.findall(r"\]\(benchmarks/([\w-]+)\.svg\)", page))
    assert {"enqueue-many", "memory", "cpu", "lateness", "scale-workers"} <= set(pictures)
    for picture in pictures.values():
        assert picture.find(f"{SVG}title") is not None
        height, width = float(picture.attrib["height"]), float(picture.attrib["width"])
        for element in picture.iter(f"{SVG}text"):
            assert 0 < float(element.attrib["x"]) < width
            assert 0 < float(element.attrib["y"]) < height
        style = picture.findtext(f"{SVG}style") or ""
        light, dark = style.split("@media (prefers-color-scheme: dark)")
        used = {kind for e in picture.iter() for kind in e.attrib.get("class", "").split()}
        assert used <= set(re.findall(r"[.]([a-z]+\d?)\b", light))
        assert "#ffffff" in light
        assert "#ffffff" not in dark
    assert "360 + 120" in texts(pictures["cpu"])
    assert "−400 / 80.0" in texts(pictures["lateness"])


def test_labels_of_equal_curves_keep_apart(bench: Bench) -> None:
    for processes in (1, 2):
        for queues in (1, 2, 4):
            axes: dict[str, Any] = {"processes": processes, "queues": queues}
            bench.add("scale-workers", "rate", "reeve-c", 1e5, **axes)
    bench.page()
    picture = bench.pictures()["scale-workers"]
    labels = [e for e in picture.iter(f"{SVG}text") if "reeve (C)" in (e.text or "")]
    heights = sorted(float(element.attrib["y"]) for element in labels)
    assert len(heights) == 3
    assert all(b - a >= 14 for a, b in pairwise(heights))


def test_check_tells_a_page_of_other_records(bench: Bench) -> None:
    assert bench.run("--check").returncode == 1
    assert bench.run().returncode == 0
    assert bench.run("--check").returncode == 0
    stray = bench.folder / "benchmarks" / "older.svg"
    stray.write_text("<svg/>")
    done = bench.run("--check")
    assert done.returncode == 1
    assert "older.svg: not what tests/bench/report.py writes" in done.stdout
    assert bench.run().returncode == 0
    assert not stray.exists()


def test_what_is_not_records_is_named(bench: Bench) -> None:
    broken = bench.folder / "broken.json"
    broken.write_text('{"records": [{"row": "enqueue"}]}')
    done = bench.run("--json", str(broken))
    assert done.returncode == 1
    assert "broken.json: not records" in done.stderr


def test_missing_records_say_how_to_make_them(bench: Bench) -> None:
    done = bench.run("--json", str(bench.folder / "absent.json"))
    assert done.returncode == 1
    assert "No such file or directory: `make bench BENCH=--record`" in done.stderr
