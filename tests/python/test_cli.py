"""The command line, as programs and people call it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import reeve
from conftest import make_broker, redis_command, wait_for
from procs import Place, end
from reeve import App, NotFound, ServerError
from reeve.cli._jobs import find_job


@pytest.fixture
def place(tmp_path: Path) -> Place:
    folder = tmp_path / "place"
    folder.mkdir()
    return Place(folder, f"sqlite://{tmp_path}/queue.db")


@pytest.fixture
def app(place: Place) -> Iterator[App]:
    place.env["REEVE_URL"] = place.url
    with App(place.url) as app:
        yield app


def out(place: Place, *args: str) -> Any:
    """The JSON that a command prints."""
    return json.loads(place.cli(*args, "--json"))


def test_version_and_help(place: Place) -> None:
    assert place.cli("version") == f"reeve {reeve.__version__}\n"
    assert place.cli("--version") == place.cli("version")
    assert out(place, "version") == {"version": reeve.__version__}
    text = place.cli("--help")
    for command in ("worker", "demo", "queues", "jobs", "dead", "pause", "weight", "enqueue"):
        assert f"  {command} " in text
        place.cli(command, "--help")


def test_from_enqueue_to_delete(place: Place, app: App) -> None:
    args = ("--queue", "mail", "--json-args", '{"to": "a@b.c"}')
    job = out(place, "enqueue", "welcome", *args, "--priority", "8")
    assert job["queue"] == "mail"
    (queue,) = out(place, "queues")
    assert (queue["name"], queue["pending"], queue["paused"]) == ("mail", 1, False)
    (listed,) = out(place, "jobs", "mail")
    assert (listed["id"], listed["args"], listed["priority"]) == (job["id"], {"to": "a@b.c"}, 8)
    shown = out(place, "jobs", "show", job["id"])
    assert shown == listed
    assert """{"to": "a@b.c"}""" in place.cli("jobs", "show", job["id"])  # as --json-args takes it
    assert out(place, "jobs", "delete", job["id"], "--queue", "mail")["id"] == job["id"]
    assert out(place, "jobs", "list", "mail", "--state", "pending") == []
    late = out(place, "enqueue", "welcome", "--delay", "1h", "--id", "own")
    assert late["id"] == "own"
    assert out(place, "jobs", "default", "--state", "scheduled")[0]["due_at"]
    assert out(place, "jobs", "retry", "own")["queue"] == "default"
    assert app.job("own").state == "pending"


def test_enqueue_has_the_options_and_says_what_became_of_it(place: Place, app: App) -> None:
    words = ("enqueue", "t", "--queue", "mail", "--idempotency-key", "k", "--retention", "forever")
    first = out(place, *words, "--retries", "2", "--header", "a=b=c", "--header", "d=")
    assert first == {
        "id": first["id"],
        "queue": "mail",
        "existing": False,
        "state": "pending",
        "due_at": None,
    }
    info = app.job(first["id"], "mail").info()
    assert (info.max_attempts, info.headers) == (3, {"a": "b=c", "d": ""})
    assert place.cli(*words) == f"job {first['id']} was already in mail: pending\n"
    late = place.cli("enqueue", "t", "--at", "2100-01-01T01:00+01:00", "--timeout", "5s")
    assert late.endswith(" is in default: scheduled, due 2100-01-01T00:00:00+00:00\n")
    soon = out(place, "enqueue", "t", "--delay", "1h", "--expires", "2h")
    assert soon["due_at"] == out(place, "jobs", "show", soon["id"])["due_at"]


def test_the_lists_show_what_their_state_is_about(place: Place, app: App) -> None:
    from reeve.cli._common import shorten, show_seconds

    @app.task(retry=0)
    def fails() -> None:
        raise ValueError("x" * 80)

    job = fails.enqueue()
    with app.worker():
        wait_for(lambda: job.state == "archived")
    head, row = place.cli("dead", "list", "default").splitlines()
    assert head.split()[3:5] == ["enqueued", "died"]
    assert row.count(" ago") == 2
    assert row.endswith("x…")
    app.enqueue("t", {}, delay="1h")
    assert "  in 1h" in place.cli("jobs", "default", "--state", "scheduled")
    spans = {0.0994: "99ms", 0.9999: "1s", 59.4: "59s", 59.6: "1m", 3599.0: "1h", 2000.0: "33m"}
    spans |= {86399.0: "1d", 36 * 3600.0: "2d"}
    assert {s: show_seconds(s) for s in spans} == spans
    assert [shorten(t, 4) for t in ("abcd", "abcde", "a\nb", "a\n")] == ["abcd", "abc…", "a…", "a"]


def test_the_dead(place: Place, app: App) -> None:
    ids = [app.enqueue("t", {"n": n}).id for n in range(4)]
    for id in ids:
        app.job(id).archive()
    assert [d["id"] for d in out(place, "dead", "list", "default")] == ids
    assert out(place, "dead", "show", ids[0])["state"] == "archived"
    assert out(place, "dead", "retry", "default", ids[0])["count"] == 1
    assert out(place, "dead", "edit", "default", ids[1], "--json-args", '{"n": 9}')["id"] == ids[1]
    assert app.job(ids[1]).info().args == {"n": 9}
    assert out(place, "dead", "purge", "default", ids[2])["count"] == 1
    assert out(place, "dead", "purge", "default", "--all")["count"] == 1
    assert place.cli("dead", "list", "default") == "no dead jobs in default\n"
    for words in (
        ("list", "defualt"),
        ("retry", "defualt", "--all"),
        ("purge", "defualt", "--all"),
    ):
        assert "there is no queue defualt" in place.cli("dead", *words, code=1)
    assert "is not dead" in place.cli("dead", "show", ids[0], code=1)
    assert "default is a queue; give an ID" in place.cli("dead", "retry", "default", code=2)


def test_the_dead_by_their_ids_alone(place: Place, app: App) -> None:
    ids = [app.enqueue("t", {"n": n}, queue="mail").id for n in range(3)]
    for id in ids:
        app.job(id, "mail").archive()
    assert [d["id"] for d in out(place, "jobs", "mail", "--state", "dead")] == ids
    assert out(place, "dead", "retry", ids[0]) == {"queue": "mail", "count": 1}
    assert out(place, "dead", "purge", ids[1]) == {"queue": "mail", "count": 1}
    assert out(place, "dead", "edit", ids[2], "--json-args", "{}") == {
        "id": ids[2],
        "queue": "mail",
    }
    assert [i.id for i in app.jobs("mail")] == [ids[0], ids[2]]
    assert "not in the dead letter of queue mail" in place.cli("dead", "purge", ids[0], code=1)


def test_editor(place: Place, app: App) -> None:
    job = app.enqueue("t", {"n": 1})
    job.archive()
    editor = place.folder / "editor"
    code = "import json,sys; p=sys.argv[1]; json.dump({'n': 2}, open(p, 'w'))"
    editor.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{code}" "$1"\n')
    editor.chmod(0o755)
    place.env["EDITOR"] = place.env["VISUAL"] = str(editor)
    place.cli("dead", "edit", "default", job.id)
    assert job.info().args == {"n": 2}


def test_pause_resume_weight(place: Place, app: App) -> None:
    app.enqueue("t", {})
    assert place.cli("pause", "default") == "default is paused\n"
    assert app.inspect.queue("default").paused
    assert out(place, "resume", "default") == {"queue": "default", "paused": False}
    assert out(place, "weight", "default", "6") == {"queue": "default", "weight": 6}
    assert app.inspect.queue("default").weight == 6
    assert "is not in the range" in place.cli("weight", "default", "5000", code=2)


def test_an_empty_queue_is_dropped(place: Place, app: App) -> None:
    app.enqueue("task.name", {}, queue="old")
    for words in (["--url", "sqlite:///elsewhere.db"], ["--prefix", "p"], ["--watch"]):
        assert "goes behind drop" in place.cli("queues", *words, "drop", "old", code=2)
    assert "queue 'old' has tasks" in place.cli("queues", "drop", "old", code=1)
    assert app.inspect.delete_all("old", "pending") == 1
    assert place.cli("queues", "drop", "old") == "old is forgotten\n"
    assert place.cli("queues") == "no queues yet\n"
    assert "no queue 'old'" in place.cli("queues", "drop", "old", code=1)
    app.enqueue("task.name", {}, queue="old")
    assert app.inspect.queue("old").pending == 1


def test_a_damaged_queue_hides_no_other(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    url = make_broker(request, "redis", tmp_path)
    with App(url) as app:
        for queue in ("bad", "good"):
            app.enqueue("task.name", {}, queue=queue)
        redis_command(url, "del", "reeve:{bad}:pending")
        redis_command(url, "set", "reeve:{bad}:pending", "x")
        bad, good = app.queues()
        assert (bad.name, bad.pending, "WRONGTYPE" in bad.error) == ("bad", 0, True)
        assert (good.name, good.pending, good.error) == ("good", 1, "")
        assert app.inspect.queue("good").pending == 1
        with pytest.raises(ServerError, match=r"queue bad is damaged: .*WRONGTYPE"):
            app.inspect.queue("bad")
    command = [sys.executable, "-m", "reeve", "queues", "--url", url]
    shown = subprocess.run(command, capture_output=True, text=True, check=True)
    assert [line.split()[0] for line in shown.stdout.splitlines()] == ["queue", "bad", "good"]
    assert shown.stdout.splitlines()[1].split()[-1] == "damaged"
    assert "reeve: bad is damaged: " in shown.stderr
    rows = json.loads(subprocess.check_output([*command, "--json"], text=True))
    assert [bool(row["error"]) for row in rows] == [True, False]


def test_a_job_is_found_beside_a_damaged_queue(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = make_broker(request, "redis", tmp_path)
    with App(url) as app:
        app.enqueue("task.name", {}, queue="bad")
        job = app.enqueue("task.name", {}, queue="good")
        redis_command(url, "del", "reeve:{bad}:active")
        redis_command(url, "set", "reeve:{bad}:active", "x")
        found, info = find_job(app, job.id, None)
        assert (found.queue, info.state) == ("good", "pending")
        with pytest.raises(NotFound, match="in any queue that can be read; damaged: bad"):
            find_job(app, "unknown", None)
        with pytest.raises(ServerError, match="WRONGTYPE"):
            find_job(app, "unknown", "bad")


def test_plain_text_is_aligned(place: Place, app: App) -> None:
    assert place.cli("queues") == "no queues yet\n"
    app.enqueue("task.name", {}, queue="short")
    app.enqueue("task.name", {}, queue="a-much-longer-name")
    head, *rows = place.cli("queues").splitlines()
    assert head.startswith("queue ")
    assert [row.split()[0] for row in rows] == ["a-much-longer-name", "short"]
    assert head.index("pending") + len("pending") == rows[1].index(" 1 ") + 2
    assert "task.name" in place.cli("jobs", "short")
    assert place.cli("workers") == "no workers\n"
    assert "\x1b" not in place.cli("queues")


@pytest.mark.parametrize("words", [(), ("--json",)], ids=["text", "json"])
def test_watch_prints_until_ctrl_c(place: Place, app: App, words: tuple[str, ...]) -> None:
    import signal

    app.enqueue("t", {})
    process = subprocess.Popen(
        [sys.executable, "-m", "reeve", "queues", "--watch", "--interval", "0.1", *words],
        env=place.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for _ in range(2):
        if words:
            assert json.loads(process.stdout.readline())[0]["name"] == "default"
        else:
            lines = [process.stdout.readline() for _ in range(3)]
            assert [line.split()[:1] for line in lines] == [["queue"], ["default"], []]
    process.send_signal(signal.SIGINT)
    assert process.communicate()[1] == ""
    assert process.returncode == 0


def test_a_result_is_json_in_json(place: Place, app: App) -> None:
    @app.task(retention="1h")
    def answer(text: str) -> dict[str, list[str]] | None:
        return {"said": [text]} if text else None

    with app.worker():
        jobs = [answer.enqueue("a"), answer.enqueue("")]
        wait_for(lambda: all(job.state == "completed" for job in jobs))
    shown = [out(place, "jobs", "show", job.id) for job in jobs]
    assert [(s["has_result"], s["result"]) for s in shown] == [
        (True, {"said": ["a"]}),
        (True, None),
    ]
    assert """{"said": ["a"]}""" in place.cli("jobs", "show", jobs[0].id)


@pytest.mark.parametrize(
    ("args", "code", "text"),
    [
        (("nonsense",), 2, "No such command"),
        (("queues", "--url", "ftp://x"), 2, "scheme"),
        (("queues", "--url", "x"), 2, "url has no scheme"),
        (("queues", "--url", "mem://x"), 2, "lives in the process that made it"),
        (("worker", "work", "--url", "mem://x"), 2, "nobody could enqueue to this worker"),
        (("worker", "work", "--url", "mem://x", "--processes", "2"), 2, "nobody could enqueue"),
        (("demo", "--url", "mem://x"), 2, "no worker process could take from it"),
        (("queues", "--url", "redis+unix:///nowhere/r.sock"), 1, "is the server running"),
        (("jobs", "a b"), 2, "queue is 'a b'"),
        (("jobs", "q", "--state", "lost"), 2, "'lost' is not one of"),
        (("jobs", "q", "--state", "blocked"), 2, "'blocked' is not one of"),
        (("jobs", "q", "--limit", "0"), 2, "0 is not in the range"),
        (("jobs", "nosuch"), 1, "there is no queue nosuch"),
        (("jobs", "nosuch", "--json"), 1, "there is no queue nosuch"),
        (("jobs", "show", "nothing"), 1, "there is no job nothing in any queue"),
        (("dead", "retry", "no-job"), 1, "there is no job no-job in any queue"),
        (("dead", "retry", "q", "id", "--all"), 2, "give an ID or --all"),
        (("dead", "purge", "q", "id"), 1, "not in the dead letter"),
        (("enqueue", "t", "--json-args", "{"), 2, "not JSON"),
        (("enqueue", "t", "--json-args", "[1]"), 2, "object by parameter name"),
        (("enqueue", "a b"), 2, "task name is 'a b'"),
        (("enqueue", "t", "--delay", "soon"), 2, "delay is 'soon'"),
        (("enqueue", "t", "--at", "2100-01-01T00:00"), 2, "write it with its offset"),
        (("enqueue", "t", "--at", "now"), 2, "write it with its offset"),
        (("enqueue", "t", "--delay", "1h", "--at", "2100-01-01T00:00Z"), 2, "delay or at"),
        (("enqueue", "t", "--header", "a"), 2, "write name=value"),
        (("enqueue", "t", "--retries", "-1"), 2, "retry is -1"),
        (("worker", "no_such_module"), 2, "there is no module no_such_module"),
        (("worker", "work:nothing"), 2, "work has no App called nothing"),
        (("worker", "json"), 2, "json has 0 Apps"),
        (("worker", "../work.py"), 2, "'...work' is no module"),
        (("worker", "work", "--queues", "a=x"), 2, "write name=weight"),
        (("worker", "work", "--queues", "a=3,b,a"), 2, "a is there twice"),
        (("worker", "work", "-c", "0"), 2, "concurrency is 0"),
        (("worker", "work", "--prefetch", "all"), 2, "write auto, none or a number"),
        (("worker", "work", "--prefetch", "2000"), 2, "prefetch is 2000; it must be 1 to 1000"),
        (("worker", "work", "--processes", "2", "-c", "0"), 2, "concurrency is 0"),
        (("worker", "work", "--supervise", "--queues", "a=5000"), 2, "weight of queue a is 5000"),
        (("worker", "work", "--supervise", "--lease", "1ms"), 2, "lease_ms 1 is outside"),
        (("worker", "work", "--lease", "1ms"), 2, "lease"),
        (("worker", "work", "--grace", "never"), 2, "grace is 'never'"),
        (("demo", "/no/such/dir"), 2, "does not exist"),
        (("demo", "--files", "0"), 2, "not in the range"),
        (("demo", "--lease", "1ms"), 2, "lease is '1ms'"),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, tuple) else None,
)
def test_errors_are_one_line(
    place: Place, app: App, args: tuple[str, ...], code: int, text: str
) -> None:
    error = place.cli(*args, code=code)
    assert text in error
    assert "Traceback" not in error
    assert len([line for line in error.splitlines() if "rror" in line or "reeve:" in line]) <= 1


def test_a_full_disk_is_one_line(place: Place, app: App) -> None:
    import subprocess

    command = [sys.executable, "-m", "reeve", "version"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, env=place.env
        )
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == "reeve: [Errno 28] No space left on device"
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("import no_such_thing", "ModuleNotFoundError: No module named 'no_such_thing'"),
        ("def f(:", "SyntaxError: invalid syntax"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
    ],
)
def test_a_failing_import_shows_its_own_lines(place: Place, source: str, error: str) -> None:
    (place.folder / "broken.py").write_text(f"\n{source}\n")
    text = place.cli("worker", "broken:app", code=1)
    assert "importing broken failed" in text
    assert f'{place.folder}/broken.py", line 2' in text
    assert error in text
    for name in ("click", "importlib", "_worker.py"):
        assert name not in text


def shown(columns: tuple[str, ...], rows: list[list[str]], width: int) -> list[str]:
    """What a terminal of this width shows."""
    from rich.console import Console

    from reeve.cli._common import make_rich_table

    console = Console(width=width, force_terminal=True, no_color=True, highlight=False)
    with console.capture() as capture:
        console.print(make_rich_table(columns, rows, width))
    return re.sub(r"\x1b\[[0-9;]*m", "", capture.get()).splitlines()


def test_a_narrow_terminal_hides_nothing_that_is_said() -> None:
    columns = ("queue", ">pending", ">retry", ">weight", "state")
    rows = [["default", "12", "0", "-", ""], ["a-long-name", "3", "7", "-", ""]]
    assert shown(columns, rows, 60)[0].split() == ["queue", "pending", "retry", "weight", "state"]
    narrow = shown(columns, rows, 30)
    assert narrow[0].split() == ["queue", "pending", "retry"]
    assert narrow[-1].split() == ["a-long-name", "3", "7"]
    blocks = shown(columns, rows, 20)
    first = ["queue    default", "pending  12", "retry    0"]
    assert blocks == [*first, "", "queue    a-long-name", "pending  3", "retry    7"]


def test_a_narrow_terminal_folds_the_last_column_only() -> None:
    id = "01a1f7bd-c33c-725a-9885-7ca8f958f3c4"
    lines = shown(("id", "task", "last error"), [[id, "t", "ValueError: never works"]], 60)
    assert max(map(len, lines)) <= 60
    assert lines[2].startswith(id)
    assert "".join(line[len(id) + 8 :].strip() for line in lines[2:]) == "ValueError:never works"


def test_worker_options_reach_the_worker(place: Place, app: App) -> None:
    with place.worker("--queues", "mail=6,default", "-c", "3", "--log-level", "debug") as process:
        wait_for(lambda: app.workers())
        (worker,) = app.workers()
        assert (worker.queues, worker.concurrency) == ("mail=6,default=1", 3)
        (seen,) = out(place, "workers")
        assert seen["id"] == worker.id
        weights = [{"name": "mail", "weight": 6}, {"name": "default", "weight": 1}]
        assert seen["queues"] == weights
        assert worker.id in place.cli("workers")
        end(process)
    assert app.workers() == []


def test_workers_are_quieted_and_resumed(place: Place, app: App) -> None:
    def states() -> list[str]:
        return [w["state"] for w in out(place, "workers")]

    with place.worker() as process:
        wait_for(lambda: app.workers())
        (worker,) = app.workers()
        assert states() == ["running"]
        told = out(place, "workers", "quiet", worker.id)
        assert told == {"workers": [worker.id], "quiet": True}
        wait_for(lambda: states() == ["quiet"])
        assert " quiet " in place.cli("workers")
        assert place.cli("workers", "resume", "--all") == "1 worker is told to claim again\n"
        wait_for(lambda: states() == ["running"])
        assert "no live worker nobody" in place.cli("workers", "quiet", "nobody", code=1)
        assert "give an ID or --all" in place.cli("workers", "quiet", code=2)
        assert "--url goes behind quiet" in place.cli(
            "workers", "--url", place.url, "quiet", "--all", code=2
        )
        end(process)


def test_a_worker_that_says_nothing_is_silent() -> None:
    from datetime import UTC, datetime, timedelta

    from reeve import WorkerInfo
    from reeve.cli._workers import _shown_state

    def info(seconds: float) -> WorkerInfo:
        beat = datetime.now(UTC) - timedelta(seconds=seconds)
        return WorkerInfo("w", "h", 1, beat, beat, 1, 0, 0, 0, True, "a=1")

    assert _shown_state(info(3)) == "quiet"
    assert _shown_state(info(240)) == "silent for 4m"


def test_lines_of_a_handler_end_with_its_job(place: Place, app: App) -> None:
    (place.folder / "work.py").write_text(
        "import logging\nfrom reeve import App, Context\napp = App()\n"
        "@app.task(name='talk')\ndef talk(context: Context) -> None:\n"
        "    context.logger.info('one')\n    logging.getLogger('shop').warning('two')\n"
        "@app.task(name='atalk')\nasync def atalk() -> None:\n"
        "    logging.getLogger('shop').warning('three')\n"
    )
    with place.worker() as process:
        jobs = [app.enqueue(name, {}) for name in ("talk", "atalk")]
        wait_for(lambda: all(job.state is None for job in jobs))
        lines = end(process).splitlines()
    for word, job in (("one", jobs[0]), ("two", jobs[0]), ("three", jobs[1])):
        (line,) = [line for line in lines if f": {word}" in line]
        assert line.endswith(f": {word} [{job.id} attempt 1]")
    assert [line for line in lines if line.endswith("attempt 1]")] == [
        line for line in lines if " reeve.task.talk: " in line or " shop: " in line
    ]


def test_a_worker_without_tasks_says_so(place: Place, app: App) -> None:
    (place.folder / "work.py").write_text("from reeve import App\napp = App()\n")
    with place.worker() as process:
        wait_for(lambda: app.workers())
        assert "work has no tasks; does it import the modules" in end(process)


def test_worker_url_overrides_the_apps(place: Place, app: App, tmp_path: Path) -> None:
    place.env["TEST_URL"] = "redis://nowhere.invalid"
    app.enqueue("note", {"n": 1})
    with place.worker("--url", place.url) as process:
        wait_for(lambda: place.count("note") == 1)
        end(process)


def test_a_terminated_demo_leaves_nothing(place: Place, shared_broker: str) -> None:
    import signal

    scratch = place.folder / "scratch"
    scratch.mkdir()
    place.env["TMPDIR"] = str(scratch)
    folder = place.folder / "files"
    folder.mkdir()
    for n in range(300):
        (folder / f"{n}.txt").write_bytes(os.urandom(1_000_000))
    command = [sys.executable, "-m", "reeve", "demo", str(folder), "--url", shared_broker]
    demo = subprocess.Popen(command, env=place.env, stdout=subprocess.DEVNULL)
    with App(shared_broker, prefix="reeve-demo") as app:
        wait_for(lambda: any(w.active for w in app.workers()))
        demo.send_signal(signal.SIGTERM)
        assert demo.wait(30) == 1
        assert app.workers() == []
        assert not any(q.backlog or q.completed or q.archived for q in app.queues())
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("kill", [(), ("--kill",), ("--kill", "unsupervised", "--lease", "1s")])
def test_demo_accounts_for_every_file(place: Place, shared_broker: str, kill: tuple[str]) -> None:
    folder = place.folder / "files"
    folder.mkdir()
    for n in range(400):
        (folder / f"{n}.txt").write_bytes(os.urandom(50) * (n * 40 + 1) if n % 10 else b"same")
    (folder / "broken-link").symlink_to("nowhere")
    url = ("--url", shared_broker)
    report = out(place, "demo", str(folder), *url, "-c", "2", *kill)
    assert report["files"] == 405
    assert (report["missing"], report["twice"], report["unknown"]) == (0, 0, 0)
    assert report["dead"] == 4
    assert report["done"] == 401
    assert report["duplicates"] == 39
    assert report["retries"] >= 8
    assert all(d["attempts"] == 3 for d in report["dead_jobs"])
    if kill:
        takeover = report["takeover"]
        assert takeover["held"] >= 1
        assert report["crashes"] >= takeover["held"]
        assert (takeover["back_ms"] is None) == ("unsupervised" in kill)
    assert report["recovered"] >= 1
    assert report["first_runs_seconds"] > 0
    with App(shared_broker, prefix="reeve-demo") as app:
        assert app.queues() == []


def test_a_small_demo_fails_on_purpose_and_measures_no_shares(place: Place) -> None:
    folder = place.folder / "files"
    folder.mkdir()
    for n in range(5):
        (folder / f"{n}.txt").write_text("x" * n)
    report = out(place, "demo", str(folder))
    assert (report["done"], report["dead"], report["recovered"], report["retries"]) == (6, 3, 1, 7)
    assert [q["share"] for q in report["queues"]] == [None, None]
    text = place.cli("demo", str(folder))
    assert text.count("too few jobs to measure its share") == 2
    assert "1 job recovered" in text
    assert " later, " in text
