"""The harness, inline mode and the pytest plugin that users get."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from importlib.metadata import entry_points

import pytest

from reeve import App, Context, JobFailed, Retry, Snooze, StateError
from reeve.testing import harness


def make(app: App) -> None:
    @app.task(name="send", retention="1d", retry=Retry(max_attempts=3, base="1h", jitter="none"))
    def send(ctx: Context, to: str, fail: int = 0) -> str:
        if ctx.attempt <= fail:
            raise ValueError(to)
        return f"sent to {to} in attempt {ctx.attempt}"

    @app.task(name="relay")
    async def relay(to: str) -> None:
        await asyncio.sleep(0)
        await send.aenqueue(to)


@pytest.fixture
def app() -> App:
    app = App("redis://nowhere.invalid")  # never contacted: the harness swaps it
    make(app)
    return app


def test_runs_until_idle(app: App) -> None:
    relay = app.tasks["relay"]
    with harness(app) as h:
        relay.enqueue("a")
        h.assert_enqueued(relay, to="a")
        assert h.run_until_idle() == 2
        (done,) = h.jobs(state="completed")
        assert app.job(done.id).result() == "sent to a in attempt 1"
    assert app.url == "redis://nowhere.invalid"


def test_time_is_virtual(app: App) -> None:
    send = app.tasks["send"]
    with harness(app) as h:
        start = h.clock.now
        later = send.using(delay="2h").enqueue("a")
        assert h.run_until_idle() == 0
        h.clock.advance("2h")
        assert h.run_until_idle() == 1
        assert later.state == "completed"
        assert h.clock.now - start == timedelta(hours=2)


def test_retries_wait_for_the_clock(app: App) -> None:
    send = app.tasks["send"]
    with harness(app) as h:
        job = send.enqueue("a", fail=1)
        assert h.run_until_idle() == 1
        assert job.state == "retry"
        h.clock.advance("59m")
        assert h.run_until_idle() == 0
        h.clock.advance("1m")
        assert h.run_until_idle() == 1
        assert job.result() == "sent to a in attempt 2"
        lost = send.enqueue("b", fail=9)
        assert h.run_to_end() == 3
        with pytest.raises(JobFailed, match="ValueError: b"):
            lost.result()


def test_retention_ends(app: App) -> None:
    send = app.tasks["send"]
    with harness(app) as h:
        job = send.enqueue("a")
        h.run_until_idle()
        assert job.state == "completed"
        h.clock.advance("25h")
        h.run_until_idle()
        assert job.state is None


def test_a_killed_worker_costs_a_crash_not_an_attempt(app: App) -> None:
    send = app.tasks["send"]
    with harness(app) as h:
        job = send.enqueue("a")
        h.kill_worker()
        assert job.state == "active"
        assert h.run_until_idle() == 0
        h.clock.advance("31s")
        assert h.run_until_idle() == 1
        info = job.info()
        assert (info.crashes, info.attempts, info.state) == (1, 0, "completed")


def test_asserting(app: App) -> None:
    send = app.tasks["send"]
    with harness(app) as h:
        with pytest.raises(AssertionError, match="waiting are: none"):
            h.assert_enqueued(send)
        send.enqueue("a")
        send.enqueue("b", fail=1)
        h.assert_enqueued(send, count=2)
        h.assert_enqueued(send, to="b", fail=1)
        with pytest.raises(AssertionError, match="found 0"):
            h.assert_enqueued(send, to="c")
        with pytest.raises(AssertionError, match=r"1 enqueued .* found 2"):
            h.assert_enqueued(send, count=1)
        assert [i.args["to"] for i in h.enqueued(send)] == ["a", "b"]
        with pytest.raises(TypeError, match="send has no parameter 'too'"):
            h.assert_enqueued(send, too="a")


def test_run_once_is_one_round(app: App) -> None:
    relay = app.tasks["relay"]
    with harness(app, concurrency=2) as h:
        relay.enqueue_many([("a",), ("b",), ("c",)])
        assert h.run_once() == 2
        assert h.run_until_idle() == 4  # each of three enqueued one more


def test_inside_a_loop(app: App) -> None:
    relay = app.tasks["relay"]

    async def main() -> None:
        with harness(app) as h:
            await relay.aenqueue("a")
            with pytest.raises(StateError, match="await arun_until_idle"):
                h.run_until_idle()
            h.clock.advance("1m")
            assert await h.arun_until_idle() >= 1
            await relay.using(delay="1h").aenqueue("b")
            assert await h.arun_to_end() == 2

    asyncio.run(main())


def test_a_task_that_never_ends_fails_the_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reeve.testing._RUNS_MAX", 50)
    app = App()

    @app.task
    def again() -> None:
        again.enqueue()

    @app.task
    def snoozes() -> None:
        raise Snooze("1h")

    with harness(app) as h:
        again.enqueue()
        with pytest.raises(AssertionError, match="still busy after 50 runs"):
            h.run_until_idle()
    with harness(app) as h:
        snoozes.enqueue()
        with pytest.raises(AssertionError, match="still busy after 50 runs"):
            h.run_to_end()


def test_one_harness_at_a_time(app: App) -> None:
    with harness(app), pytest.raises(StateError, match="in a harness already"), harness(app):
        pass
    with harness(app):
        pass


def test_inline(app: App) -> None:
    send, relay = app.tasks["send"], app.tasks["relay"]
    with app.inline():
        assert send.enqueue("a", fail=2).result() == "sent to a in attempt 3"
        assert send.enqueue("a", fail=3).state == "archived"
        assert [j.state for j in send.enqueue_many([("a",), ("b",)])] == ["completed"] * 2
        relay.enqueue("c")
        assert app.inspect.queue("default").completed == 4

        with pytest.raises(TypeError, match="argument 'to' of send"):
            send.enqueue(object())

    async def main() -> None:
        with app.inline():
            job = await send.aenqueue("z")
            assert await job.aresult() == "sent to z in attempt 1"

    asyncio.run(main())


def test_the_plugin(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        from reeve import App

        app = App("redis://nowhere.invalid")

        @app.task
        async def note(n: int) -> None: ...

        def test_it(reeve_harness):
            h = reeve_harness(app)
            note.enqueue(1)
            assert h.run_until_idle() == 1

        def test_again(reeve_harness):
            assert reeve_harness(app).jobs() == []
        """
    )
    installed = {e.value for e in entry_points(group="pytest11")}
    load = [] if "reeve.pytest_plugin" in installed else ["-p", "reeve.pytest_plugin"]
    result = pytester.runpytest_subprocess(*load, "-p", "no:cacheprovider")
    result.assert_outcomes(passed=2)
