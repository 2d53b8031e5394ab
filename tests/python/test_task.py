"""Tasks and jobs on every broker: enqueue in each style, look, act, read results."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import os
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import reeve
from reeve import (
    App,
    Context,
    Job,
    NotDone,
    NotFound,
    StateError,
    TaskExists,
    TooBigError,
)


def make_tasks(app: App) -> tuple[Any, Any]:
    @app.task(name="join", retention="1h")
    def join(a: int, b: str = "x") -> str:
        """Joins."""
        return f"{a}{b}"

    @app.task(name="double", queue="async", retention="1h")
    async def double(n: int) -> int:
        return 2 * n

    return join, double


def test_a_task_is_still_its_function(mem_app: App) -> None:
    join, double = make_tasks(mem_app)
    assert join(1, "b") == "1b"
    assert asyncio.run(double(4)) == 8
    assert join.__doc__ == "Joins."
    assert join.__name__ == "join"
    assert list(inspect.signature(join).parameters) == ["a", "b"]
    assert mem_app.tasks == {"join": join, "double": double}


@pytest.mark.parametrize("command", [["shop.py"], ["-m", "shop"]])
def test_a_program_names_its_tasks_as_a_worker_imports_them(
    tmp_path: Path, command: list[str]
) -> None:
    (tmp_path / "shop.py").write_text(
        "from reeve import App\napp = App('mem://x')\n"
        "@app.task\ndef pack(): ...\nprint(pack.name)\n"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(reeve.__file__).parents[1])}
    text = subprocess.check_output([sys.executable, *command], cwd=tmp_path, env=env, text=True)
    assert text == "shop.pack\n"


def test_default_name_is_module_and_qualname(mem_app: App) -> None:
    @mem_app.task
    def local() -> None: ...

    assert local.name == f"{__name__}.test_default_name_is_module_and_qualname.local"
    assert "<" not in local.name


def test_a_local_call_gets_a_context(mem_app: App) -> None:
    @mem_app.task(queue="q")
    def handler(ctx: Context, a: int) -> tuple[str, int, str, int]:
        return ctx.queue, ctx.attempt, ctx.id, a

    assert handler(5) == ("q", 1, "local", 5)


def test_enqueue_in_each_style(app: App) -> None:
    join, double = make_tasks(app)
    jobs: list[Job[str]] = [
        join.enqueue(1, "a"),
        join.delay(2, b="b"),
        join.using(priority=9).enqueue(3),
        *join.enqueue_many([(4,), (5, "e"), [6], {"a": 7, "b": "g"}]),
    ]

    async def from_a_loop() -> list[Job[int]]:
        jobs = await asyncio.gather(*(double.aenqueue(i) for i in range(20)))
        return [*jobs, *await double.aenqueue_many([(n,) for n in range(5)])]

    asynchronous = asyncio.run(from_a_loop())
    assert len({job.id for job in [*jobs, *asynchronous]}) == 32
    assert [job.queue for job in asynchronous] == ["async"] * 25
    args = [info.args for info in app.jobs("default", "pending")]
    # the one with priority 9 is first, the rest in order
    assert [a["a"] for a in args] == [3, 1, 2, 4, 5, 6, 7]
    assert args[-1] == {"a": 7, "b": "g"}
    counts = {q.name: q.pending for q in app.queues()}
    assert counts == {"async": 25, "default": 7}


def test_nothing_is_stored_when_one_of_many_is_wrong(app: App) -> None:
    join, _ = make_tasks(app)
    with pytest.raises(TypeError, match="missing 1 required"):
        join.enqueue_many([(1,), ()])
    with pytest.raises(TypeError, match="each entry must be a tuple"):
        join.enqueue_many([(1,), 5])
    with pytest.raises(ValueError, match="id names one job"):
        join.using(id="x").enqueue_many([(1,), (2,)])
    assert join.enqueue_many([]) == []
    assert app.queues() == []


def test_many_more_than_a_batch(app: App) -> None:
    join, _ = make_tasks(app)
    jobs = join.enqueue_many([(n,) for n in range(12_345)])
    assert len({job.id for job in jobs}) == 12_345
    assert app.inspect.queue("default").pending == 12_345


def test_own_ids_and_idempotency_keys(app: App) -> None:
    join, double = make_tasks(app)
    assert join.using(id="mine").enqueue(1).id == "mine"
    with pytest.raises(TaskExists):
        join.using(id="mine").enqueue(1)
    first = join.using(idempotency_key="k").enqueue(1)
    again = join.using(idempotency_key="k").enqueue(1)
    assert first == again
    assert (first.existing, again.existing) == (False, True)

    async def both() -> list[Any]:
        taken = double.using(id="own")
        calls = [taken.aenqueue(1), taken.aenqueue(1), double.aenqueue(2)]
        return await asyncio.gather(*calls, return_exceptions=True)

    results = asyncio.run(both())
    assert sorted(type(r).__name__ for r in results) == ["Job", "Job", "TaskExists"]


def test_delays_and_moments(app: App) -> None:
    join, _ = make_tasks(app)
    at = datetime.now(UTC) + timedelta(hours=3)
    late = join.using(delay="2h").enqueue(1).info()
    fixed = join.using(at=at).enqueue(1).info()
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    past = join.using(at=long_ago).enqueue(1)
    assert late.state == "scheduled"
    assert late.due_at is not None
    span = late.due_at - late.enqueued_at
    assert timedelta(hours=1, minutes=59) < span < timedelta(hours=2, minutes=1)
    assert fixed.due_at is not None
    assert abs(fixed.due_at - at) < timedelta(milliseconds=2)
    assert past.state == "pending"
    # the newer of two that exclude each other counts
    assert join.using(delay="2h").using(at=long_ago).enqueue(1).state == "pending"


def test_info_shows_everything(app: App) -> None:
    join, _ = make_tasks(app)
    job = join.using(priority=0, headers={"trace": "é"}, retry=4).enqueue(1, "b")
    info = job.info()
    assert (info.id, info.queue, info.task, info.state) == (job.id, "default", "join", "pending")
    assert (info.priority, info.max_attempts, info.attempts) == (0, 5, 0)
    assert info.headers == {"trace": "é"}
    assert info.args == {"a": 1, "b": "b"}
    assert abs(datetime.now(UTC) - info.enqueued_at) < timedelta(minutes=1)
    assert info.history == ()
    assert info.error is None


def test_actions_on_a_job(app: App) -> None:
    join, _ = make_tasks(app)
    job = join.using(delay="1h").enqueue(1)
    assert job.state == "scheduled"
    job.retry()
    assert job.state == "pending"
    with pytest.raises(StateError):
        job.retry()
    job.archive()
    assert job.state == "archived"
    assert app.dead.list("default")[0].id == job.id
    assert app.dead.retry("default", job.id) == 1
    assert job.state == "pending"
    app.inspect.edit("default", job.id, {"a": 9})
    assert job.info().args == {"a": 9}
    job.delete()
    assert job.state is None
    with pytest.raises(NotFound, match=f"job {job.id} is not in queue default"):
        job.info()
    with pytest.raises(NotFound):
        job.delete()


def test_the_twins(app: App) -> None:
    join, _ = make_tasks(app)
    job = join.enqueue(1)

    async def use() -> None:
        assert (await job.ainfo()).id == job.id
        assert await job.astate() == "pending"
        with pytest.raises(NotDone):
            await job.aresult()
        await job.aarchive()
        await job.aretry()
        await job.adelete()
        assert await job.afind() is None

    asyncio.run(use())


def test_bulk_actions_on_the_dead(app: App) -> None:
    join, _ = make_tasks(app)
    jobs = join.enqueue_many([(n,) for n in range(1100)])
    for job in jobs[:3]:
        job.archive()
    assert app.dead.retry("default") == 3
    assert app.inspect.act_all("default", "pending", 2) == 1100
    assert len(app.dead.list("default", limit=10)) == 10
    assert len(list(app.inspect.iter_jobs("default", "archived"))) == 1100
    assert app.dead.purge("default", jobs[0].id) == 1
    assert app.dead.purge("default") == 1099
    assert app.dead.list("default") == []


def test_delete_all_while_another_operator_deletes(app: App) -> None:
    join, _ = make_tasks(app)
    jobs = join.enqueue_many([(n,) for n in range(12000)])
    stolen = 0

    def steal() -> None:
        nonlocal stolen
        for job in jobs:  # from the front, as the bulk action goes
            with contextlib.suppress(NotFound):
                job.delete()
                stolen += 1

    thief = threading.Thread(target=steal)
    thief.start()
    count = app.inspect.delete_all("default", "pending")
    assert app.inspect.queue("default").pending == 0
    thief.join()
    assert count + stolen == 12000


def test_pause_and_weight_show(app: App) -> None:
    join, _ = make_tasks(app)
    join.enqueue(1)
    app.inspect.pause("default")
    app.inspect.set_weight("default", 7)
    info = app.inspect.queue("default")
    assert (info.paused, info.weight, info.backlog) == (True, 7, 1)
    app.inspect.resume("default")
    assert not app.inspect.queue("default").paused


def test_enqueue_by_name(app: App) -> None:
    job = app.enqueue("lua.resize", {"url": "x"}, queue="lua", delay="1h")
    info = job.info()
    assert (info.task, info.queue, info.args) == ("lua.resize", "lua", {"url": "x"})
    assert info.state == "scheduled"


def test_loops_leave_nothing_behind(mem_app: App) -> None:
    _, double = make_tasks(mem_app)

    async def use() -> None:
        await asyncio.gather(*(double.aenqueue(n) for n in range(3)))

    asyncio.run(use())
    for _ in range(5):
        asyncio.run(use())
    gc.collect()
    assert len(mem_app._senders) == 0
    assert mem_app.inspect.queue("async").pending == 18


def test_a_cancelled_aenqueue_disturbs_no_other(mem_app: App) -> None:
    _, double = make_tasks(mem_app)

    async def use() -> None:
        first = asyncio.ensure_future(double.aenqueue(1))
        second = asyncio.ensure_future(double.aenqueue(2))
        await asyncio.sleep(0)
        first.cancel()
        assert (await second).state == "pending"
        with pytest.raises(asyncio.CancelledError):
            await first

    asyncio.run(use())


def test_an_aenqueue_outlives_the_cancelling_of_all_tasks(app: App) -> None:
    _, double = make_tasks(app)

    async def use() -> None:
        call = asyncio.ensure_future(double.aenqueue(1))
        await asyncio.sleep(0)
        for task in asyncio.all_tasks() - {asyncio.current_task(), call}:
            task.cancel()
        assert (await asyncio.wait_for(call, 20)).state == "pending"

    asyncio.run(use())


def test_closing_an_app_leaves_no_aenqueue_behind(app: App) -> None:
    _, double = make_tasks(app)

    async def use() -> None:
        calls = [asyncio.ensure_future(double.aenqueue(n)) for n in range(20)]
        await asyncio.sleep(0)
        app.close()
        jobs = await asyncio.gather(*calls)
        assert len({job.id for job in jobs}) == 20

    asyncio.run(use())
    assert app.inspect.queue("async").pending == 20


def test_what_has_no_json_form_is_refused_by_name(app: App) -> None:
    @app.task
    def send(what: list[object]) -> None: ...

    with pytest.raises(reeve.EncodeError, match=r"argument .what. of .*send: object has") as told:
        send.enqueue([object()])
    assert isinstance(told.value, reeve.Error)
    assert isinstance(told.value, TypeError)
    assert isinstance(told.value, ValueError)
    assert told.value.slug == "encode"
    assert not app.jobs("default")


def test_info_has_what_a_job_was_enqueued_with(app: App) -> None:
    join, double = make_tasks(app)
    at = datetime(2100, 1, 2, tzinfo=UTC)
    made = double.using(timeout="9s", deadline=at, lease="5s", retention="2h", max_crashes=7)
    info = made.enqueue(1).info()
    assert (info.timeout, info.deadline, info.lease) == (
        timedelta(seconds=9),
        at,
        timedelta(seconds=5),
    )
    assert (info.retention, info.max_crashes) == (timedelta(hours=2), 7)
    plain = join.using(retention=None).enqueue(1).info()
    assert (plain.timeout, plain.deadline, plain.lease, plain.max_crashes) == (None, None, None, 3)


def test_a_payload_may_be_large_but_not_huge(app: App) -> None:
    join, double = make_tasks(app)
    assert len(join.enqueue(1, "x" * 1_000_000).info().args["b"]) == 1_000_000
    with pytest.raises(TooBigError):
        join.enqueue(1, "x" * 17_000_000)

    async def mixed() -> list[Any]:
        calls = [join.aenqueue(1, "x" * 17_000_000), double.aenqueue(2)]
        return await asyncio.gather(*calls, return_exceptions=True)

    huge, small = asyncio.run(mixed())
    assert isinstance(huge, TooBigError)
    assert small.info().args == {"n": 2}


def test_many_threads_share_a_client(app: App) -> None:
    join, _ = make_tasks(app)
    threads = [
        threading.Thread(target=lambda: [join.enqueue(n) for n in range(50)]) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert app.inspect.queue("default").pending == 400


def test_a_closed_app_opens_again(app: App) -> None:
    join, _ = make_tasks(app)
    if app.url.startswith("mem:"):
        keep = App(app.url)  # a memory broker lives as long as somebody has it open
        keep.queues()
    join.enqueue(1)
    app.close()
    app.close()
    join.enqueue(2)
    assert app.inspect.queue("default").pending == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_of_a_fork_enqueues(request: pytest.FixtureRequest, shared_broker: str) -> None:
    with App(shared_broker) as app:
        join, _ = make_tasks(app)
        join.enqueue(0)
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                join.enqueue(1)
                code = 0
            finally:
                os._exit(code)
        assert os.waitpid(pid, 0)[1] == 0
        join.enqueue(2)
        assert app.inspect.queue("default").pending == 3


def test_equality_and_looks() -> None:
    app = App("redis://user:secret@host")
    assert app.job("a") == app.job("a") != app.job("b")
    assert len({app.job("a"), app.job("a")}) == 1
    assert repr(app.job("a", "q")) == "<Job a in q>"
    assert "secret" not in repr(app)


def test_default_url(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.delenv("REEVE_URL", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert App().url == f"sqlite://{tmp_path}/reeve/reeve.db"
    odd = f"{tmp_path}/a b%3F?#é"
    monkeypatch.setenv("XDG_STATE_HOME", odd)
    with App() as app:
        app.enqueue("t", {})
        assert app.inspect.queue("default").pending == 1
    assert Path(odd, "reeve", "reeve.db").exists()
    monkeypatch.setenv("XDG_STATE_HOME", "relative/is/ignored")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert App().url == f"sqlite://{tmp_path}/.local/state/reeve/reeve.db"
    monkeypatch.setenv("REEVE_URL", "mem://there")
    assert App().url == "mem://there"
    assert App("mem://here").url == "mem://here"
