"""The demo from start to end."""

from __future__ import annotations

import json
import re
import shutil
import signal
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import click

from reeve import App, JobInfo, NotFound, StateError
from reeve._durations import to_ms
from reeve._supervisor import Supervisor, child_command
from reeve.cli._common import put_table, refuse_memory
from reeve.demo.files import Entry, default_folder, make_bad, make_late, walk
from reeve.demo.kill import Killer, Takeover
from reeve.demo.show import Show, size
from reeve.demo.tasks import Facts, app, digest
from reeve.demo.watch import Progress

#: Keys in Redis are not among the user's own.
PREFIX = "reeve-demo"
WEIGHTS = {"small": 6, "large": 2}
_LOOK_S = 0.05
_STALL_S = 120.0
_TAKEOVER_S = 60.0
_LATE_SHARE = 20  # one file in so many starts a second later
_LEAST_MEASURED = 100  # shares of fewer jobs say little of weights


@dataclass(frozen=True)
class Settings:
    """What the command line said."""

    folder: Path | None
    url: str | None
    files: int
    processes: int
    concurrency: int
    kill: str | None
    lease: str
    as_json: bool


class Demo:
    """One run. Its queues carry a random name, so that it can share a server."""

    def __init__(self, settings: Settings, scratch: Path) -> None:
        self.settings = settings
        self.scratch = scratch
        self.show = Show(settings.as_json)
        self.url = settings.url or f"sqlite://{scratch}/demo.db"
        run = uuid.uuid4().hex[:8]
        self.names = {kind: f"demo-{run}-{kind}" for kind in WEIGHTS}
        self.labels = {name: kind for kind, name in self.names.items()}
        self.app: App = app
        self.app.rebase(self.url, prefix=PREFIX)
        processes = settings.processes
        if settings.kill is not None:
            processes = max(2, processes)  # somebody must take over
        self.processes = processes
        self.entries: list[Entry] = []
        self.queue_of: dict[str, str] = {}
        self.takeover: Takeover | None = None
        self.started = 0.0
        self.seconds = 0.0

    # Preparing

    def collect(self) -> None:
        """Walks the folder and adds the bad entries."""
        folder = self.settings.folder or default_folder()
        found = walk(folder, self.settings.files)
        if not found:
            raise click.UsageError(f"there are no files in {folder}")
        spoiled = self.scratch / "bad"
        spoiled.mkdir()
        self.entries = [*found, *make_bad(spoiled), make_late(spoiled)]
        sizes = sorted(entry.size_bytes for entry in found)
        # the largest quarter: with weights 6 and 2 both queues end at about the same time
        self.bound_bytes = sizes[len(sizes) * 3 // 4]
        self.show.say(f"{len(found)} files of {folder}, and 4 that go wrong at first or for good")

    def kind_of(self, entry: Entry) -> str:
        return "large" if entry.size_bytes > self.bound_bytes else "small"

    def enqueue(self) -> None:
        """One job a file; every twentieth starts a second later."""
        for kind, name in self.names.items():
            mine = [e for e in self.entries if self.kind_of(e) == kind]
            later = mine[::_LATE_SHARE] if len(mine) > _LATE_SHARE else []
            chosen = {id(e) for e in later}
            now = [e for e in mine if id(e) not in chosen]
            task = digest.using(queue=name)
            task.enqueue_many([(e.path, e.failing_runs) for e in now])
            task.using(delay="1s").enqueue_many([(e.path, e.failing_runs) for e in later])
            self.queue_of.update({str(e.path): name for e in mine})

    def supervisor(self, log: Any) -> Supervisor:
        """Worker processes for the demo's queues."""
        options = {
            "concurrency": self.settings.concurrency,
            "queues": ",".join(f"{self.names[k]}={w}" for k, w in WEIGHTS.items()),
            "lease": self.settings.lease,
            "grace": "5s",
            "log-level": "warning",
            "prefix": PREFIX,
        }
        return Supervisor(
            self.app,
            lambda worker_id: child_command("reeve.demo.tasks:app", options, worker_id),
            self.processes,
            grace=5,
            reclaim=self.settings.kill != "unsupervised",
            env={"REEVE_WORKER_URL": self.url},
            output=log,
        )

    # Running

    @contextmanager
    def workers(self) -> Iterator[Supervisor]:
        """Runs the supervisor beside the display; it and its children end with the block."""
        with (self.scratch / "workers.log").open("wb") as log:
            supervisor = self.supervisor(log)
            failure: list[BaseException] = []

            def run() -> None:
                try:
                    supervisor.run()
                except BaseException as error:
                    failure.append(error)

            thread = threading.Thread(target=run, name="supervisor")
            thread.start()
            try:
                yield supervisor
            finally:
                supervisor.stop()
                thread.join()
            if failure:
                raise failure[0]

    def work(self) -> Progress:
        """Until every job is done or dead."""
        total = len(self.entries)
        progress = Progress(self.app, list(self.names.values()), total)
        self.enqueue()
        workers = "1 worker process starts"
        if self.processes > 1:
            workers = f"{self.processes} worker processes start"
        self.show.say(f"{total} jobs enqueued; {workers}")
        self.started = time.monotonic()
        with self.workers() as supervisor, self.show.progress(total):
            killer: Killer | None = None
            strike: threading.Thread | None = None
            if self.settings.kill is not None:
                killer = Killer(self.app, supervisor, list(self.names.values()))
            began: float | None = None
            while True:
                finished = progress.look()
                now = time.monotonic()
                if finished and began is None:
                    began = now
                    self.started = now  # rates are of the work, not of starting processes
                rate = finished / (now - began) if began is not None and now > began else 0.0
                self.show.update(progress, self.labels, rate)
                if finished >= total:
                    break
                if killer is not None and finished >= total // 3:
                    strike = threading.Thread(target=self.strike, args=(killer,), name="kill")
                    strike.start()
                    killer = None
                if progress.stalled_for() > _STALL_S:
                    raise click.ClickException(
                        f"nothing finished for {_STALL_S:.0f} s; {total - finished} jobs are left"
                    )
                # a short run must not be over before the kill
                time.sleep(_LOOK_S if killer is None else _LOOK_S / 10)
            self.seconds = max(time.monotonic() - self.started, 1e-9)
            if strike is not None:
                strike.join()
        return progress

    def strike(self, killer: Killer) -> None:
        """kill -9 in the middle."""
        self.takeover = killer.strike(_TAKEOVER_S)
        if self.takeover is None:
            self.show.say("no worker process could be caught with a job in hand")
            return
        t = self.takeover
        self.show.say(
            f"killed worker process {t.pid} with {t.held} jobs in hand; all run elsewhere after "
            f"{t.running_ms:.0f} ms"
        )

    # The end

    def report(self, progress: Progress) -> dict[str, Any]:
        """Reads every job back and checks it against the walk."""
        done: dict[str, tuple[JobInfo, Facts]] = {}
        dead: dict[str, JobInfo] = {}
        seen: Counter[str] = Counter()
        for name in self.names.values():
            for info in self.app.inspect.iter_jobs(name, "completed"):
                path = info.args["path"]
                seen[path] += 1
                done[path] = (info, digest.arguments.decode_result(info.result))
            for info in self.app.inspect.iter_jobs(name, "archived"):
                seen[info.args["path"]] += 1
                dead[info.args["path"]] = info
        walked = {str(entry.path) for entry in self.entries}
        facts = [f for _, f in done.values()]
        copies = Counter(f.sha256 for f in facts)
        infos = [*(i for i, _ in done.values()), *dead.values()]
        work_s = _first_runs_s(infos)
        return {
            "files": len(walked),
            "done": len(done),
            "dead": len(dead),
            "missing": len(walked - seen.keys()),
            "unknown": len(seen.keys() - walked),
            "twice": sum(1 for count in seen.values() if count > 1),
            "bytes": sum(f.size_bytes for f in facts),
            "gzip_bytes": sum(f.gzip_bytes for f in facts),
            "lines": sum(f.lines for f in facts),
            "duplicates": sum(count - 1 for count in copies.values()),
            "retries": sum(max(0, i.attempts - (i.state == "archived")) for i in infos),
            "recovered": sum(1 for i, _ in done.values() if i.attempts > 0),
            "crashes": sum(i.crashes for i in infos),
            "seconds": round(self.seconds, 3),
            "first_runs_seconds": round(work_s, 3),
            "per_second": round(len(self.entries) / work_s, 1),
            "processes": self.processes,
            "broker": self.url.partition("://")[0],
            "queues": self._queues(progress, done, dead),
            "takeover": None if self.takeover is None else _rounded(self.takeover),
            "dead_jobs": [
                {"path": path, "attempts": i.attempts, "error": i.error}
                for path, i in sorted(dead.items())
            ],
        }

    def _queues(
        self, progress: Progress, done: dict[str, Any], dead: dict[str, Any]
    ) -> list[dict[str, Any]]:
        total = sum(WEIGHTS.values())
        measured = sum(progress.shares.done.values())
        rows = []
        for kind, name in self.names.items():
            share = progress.shares.of(name) if measured >= _LEAST_MEASURED else None
            rows.append(
                {
                    "queue": kind,
                    "weight": WEIGHTS[kind],
                    "jobs": sum(1 for queue in self.queue_of.values() if queue == name),
                    "dead": sum(1 for path in dead if self.queue_of.get(path) == name),
                    "wanted_share": WEIGHTS[kind] / total,
                    "share": None if share is None else round(share, 4),
                    "measured_over": measured,
                }
            )
        return rows

    def clean(self) -> None:
        """Deletes the demo's jobs and queues; a file of its own goes with its folder."""
        for name in self.names.values():
            for state in ("completed", "archived", "pending", "scheduled", "retry"):
                self.app.inspect.delete_all(name, state)
            # it may never have been there, or a worker that was killed has a job of it
            with suppress(NotFound, StateError):
                self.app.inspect.drop(name)


def _first_runs_s(infos: list[JobInfo]) -> float:
    """From the first to the last end of a job's first run, on the broker's clock: what comes
    later is waiting for retries."""
    ends = [info.history[0].at if info.history else info.settled_at for info in infos]
    known = [end for end in ends if end is not None]
    span = (max(known) - min(known)).total_seconds() if known else 0.0
    return max(span, 0.001)


def _rounded(takeover: Takeover) -> dict[str, Any]:
    values = asdict(takeover)
    return {k: round(v, 1) if isinstance(v, float) else v for k, v in values.items()}


def run(settings: Settings) -> None:
    """The command. Fails when a file is missing from the result."""
    signal.signal(signal.SIGTERM, _leave)  # ends like Ctrl-C: with everything cleaned up
    scratch = Path(tempfile.mkdtemp(prefix="reeve-demo-"))
    demo = Demo(settings, scratch)
    try:
        demo.collect()
        try:
            progress = demo.work()
            report = demo.report(progress)
        finally:
            demo.clean()
            demo.app.close()
    except BaseException:
        _show_log(scratch / "workers.log")
        raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if settings.kill is not None and report["takeover"] is None:
        click.echo("no worker process was killed in the middle; take more --files", err=True)
    if settings.as_json:
        click.echo(json.dumps(report))
    else:
        _print(report, settings)
    wrong = report["missing"] + report["twice"] + report["unknown"]
    if wrong or (settings.kill is not None and report["takeover"] is None):
        sys.exit(1)


def _leave(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _show_log(path: Path) -> None:
    """The end of the workers' log, when the demo fails."""
    if path.exists():
        for line in path.read_text(errors="replace").splitlines()[-20:]:
            click.echo(f"  {line}", err=True)


def _count(number: int, noun: str, ending: str = "s") -> str:
    return f"{number} {noun if number == 1 else noun + ending}"


def _print(r: dict[str, Any], settings: Settings) -> None:
    rows: list[tuple[str, str]] = [
        ("files", f"{r['files']}: {r['done']} done, {r['dead']} dead, {r['missing']} missing"),
        ("bytes", f"{size(r['bytes'])} in {r['lines']} lines, {size(r['gzip_bytes'])} as gzip"),
        ("duplicates", f"{r['duplicates']} files have the content of another"),
        (
            "retries",
            f"{r['retries']} failed runs tried again, {_count(r['recovered'], 'job')} recovered",
        ),
        (
            "speed",
            f"{r['per_second']:.0f} jobs/s over {r['first_runs_seconds']:.2f} s on {r['broker']}, "
            f"{_count(r['processes'], 'worker process', 'es')}",
        ),
        (
            "waiting",
            f"{max(0.0, r['seconds'] - r['first_runs_seconds']):.2f} s more for retries, "
            "which wait between their runs",
        ),
    ]
    for q in r["queues"]:
        share = "too few jobs to measure its share"
        if q["share"] is not None:
            share = (
                f"{q['share']:.1%} of the work while both had a backlog "
                f"(wanted {q['wanted_share']:.0%})"
            )
        rows.append((f"queue {q['queue']}", f"{q['jobs']} jobs, weight {q['weight']}: {share}"))
    if r["takeover"] is not None:
        t = r["takeover"]
        how = "back by their leases"
        if t["back_ms"] is not None:
            how = f"handed back in {t['back_ms']:.0f} ms"
        rows.append(
            (
                "takeover",
                f"{t['held']} jobs of a killed process, {how}, "
                f"running elsewhere after {t['running_ms']:.0f} ms",
            )
        )
    click.echo()
    put_table(("what", "result"), rows, "")
    dead = [(_name(d["path"]), d["attempts"], _why(d["error"])) for d in r["dead_jobs"][:10]]
    click.echo()
    put_table(("dead letter", ">attempts", "why"), dead, "")
    if len(r["dead_jobs"]) > 10:
        click.echo(f"and {len(r['dead_jobs']) - 10} more")


def _name(path: str) -> str:
    """A path; of the demo's own bad entries, which are gone by now, only the name."""
    parts = Path(path).parts
    return parts[-1] if any(part.startswith("reeve-demo-") for part in parts) else path


def _why(error: str | None) -> str:
    """The first line of an error without the path that stands beside it."""
    first = (error or "").partition("\n")[0]
    return re.sub(r": ?'?/.*", "", first)


def check(lease: str, url: str | None) -> None:
    """Raises when the lease is no span, or the workers could not reach the broker."""
    to_ms(lease, "lease", least_ms=100)
    if url is not None:
        refuse_memory(url, "no worker process could take from it")
