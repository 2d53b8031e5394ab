"""Real worker processes: signals, crashes, the supervisor."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import wait_for
from procs import Place, alive, end
from reeve import App

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux")


@pytest.fixture
def place(shared_broker: str, tmp_path: Path) -> Place:
    folder = tmp_path / "place"
    folder.mkdir()
    return Place(folder, shared_broker)


@pytest.fixture
def app(place: Place) -> Iterator[App]:
    with App(place.url) as app:
        yield app


def test_works_and_stops_on_sigterm(place: Place, app: App) -> None:
    jobs = [app.enqueue("note", {"n": n}, retention="1h") for n in range(20)]
    with place.worker() as process:
        wait_for(lambda: place.count("note") == 20)
        wait_for(lambda: all(job.state == "completed" for job in jobs))
        log = end(process)
    assert process.returncode == 0
    assert f"started on default=1 at {place.url}, 4 tasks known" in log
    assert "stopped: 20 done, 0 retried, 0 dead, 0 handed back" in log
    assert [job.result() for job in jobs] == list(range(20))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_waits_for_what_runs(
    place: Place, app: App, number: signal.Signals
) -> None:
    app.enqueue("hold", {"seconds": 0.3})
    with place.worker() as process:
        wait_for(lambda: place.count("held"))
        log = end(process, number)
    assert process.returncode == 0
    assert place.count("finished") == 1
    assert f"{number.name}, finishing; again to stop at once" in log


def test_the_second_signal_does_not(place: Place, app: App) -> None:
    job = app.enqueue("hold", {})
    with place.worker() as process:
        wait_for(lambda: place.count("held"))
        process.send_signal(signal.SIGTERM)
        assert process.stderr is not None
        for line in process.stderr:  # it says so, then waits
            if "finishing" in line:
                break
        log = end(process)
    assert process.returncode == 0
    assert "stopping at once" in log
    assert place.count("finished") == 0
    assert job.state == "pending"
    assert job.info().crashes == 0


def test_grace_is_kept(place: Place, app: App) -> None:
    job = app.enqueue("hold", {})
    with place.worker("--grace", "100ms") as process:
        wait_for(lambda: place.count("held"))
        end(process)
    assert process.returncode == 0
    assert job.state == "pending"


def test_a_killed_worker_is_noticed_by_its_lease(place: Place, app: App) -> None:
    job = app.enqueue("hold", {"seconds": 0.0}, id="one")
    blocker = app.enqueue("hold", {})
    with place.worker("--lease", "500ms") as first:
        wait_for(lambda: place.count("held") == 2)
        wait_for(lambda: job.state is None)
        first.kill()
        first.wait()
        with place.worker("--lease", "500ms"):
            wait_for(lambda: place.count("held") == 3)
            assert blocker.info().crashes == 1
            assert blocker.info().attempts == 0


@linux
def test_a_dead_child_is_replaced_and_its_jobs_handed_back(place: Place, app: App) -> None:
    # a lease so long that only the supervisor can bring the job back
    job = app.enqueue("hold", {})
    with place.worker("--processes", "2", "--lease", "1h", "--grace", "100ms") as supervisor:
        wait_for(lambda: place.count("held") == 1)
        victim = int(place.said()[0][1])
        os.kill(victim, signal.SIGKILL)
        wait_for(lambda: place.count("held") == 2)
        assert int(place.said()[1][1]) != victim
        assert job.info().crashes == 1
        # and a new child works beside the other
        jobs = [app.enqueue("hold", {}) for _ in range(20)]
        wait_for(lambda: len({words[1] for words in place.said()}) == 3)
        assert len(jobs) == 20
        log = end(supervisor)
    assert supervisor.returncode == 0
    assert "died (signal 9); 1 tasks handed back" in log


@linux
def test_a_second_signal_passes_through_the_supervisor(place: Place, app: App) -> None:
    jobs = [app.enqueue("hold", {}) for _ in range(2)]
    with place.worker("--processes", "2", "-c", "1", "--prefetch", "none") as supervisor:
        wait_for(lambda: place.count("held") == 2)
        supervisor.send_signal(signal.SIGTERM)
        supervisor.send_signal(signal.SIGINT)
        supervisor.communicate(timeout=20)
    assert supervisor.returncode == 0
    assert [job.state for job in jobs] == ["pending", "pending"]


@linux
@pytest.mark.parametrize("task", ["die", "leave"])  # by a signal, with exit code 0
def test_a_job_that_kills_its_workers_is_stopped(place: Place, app: App, task: str) -> None:
    job = app.enqueue(task, {}, max_crashes=2)
    with place.worker("--supervise", "--lease", "1h") as supervisor:
        wait_for(lambda: job.state == "archived")
        end(supervisor)
    info = job.info()
    assert (info.crashes, info.attempts) == (2, 0)
    assert info.reason == "worker crashed too often"
    assert place.count("dying") == 2


@linux
def test_children_end_with_their_supervisor(place: Place, app: App) -> None:
    app.enqueue("note", {"n": 1})
    with place.worker("--processes", "2") as supervisor:
        wait_for(lambda: place.count("note") == 1)
        pid = int(place.said()[0][2])
        assert alive(pid)
        supervisor.kill()
        supervisor.wait()
        wait_for(lambda: not alive(pid))


@linux
def test_supervised_children_finish_on_sigterm(place: Place, app: App) -> None:
    for _ in range(4):
        app.enqueue("hold", {"seconds": 0.3})
    with place.worker("--processes", "2", "-c", "2") as supervisor:
        wait_for(lambda: place.count("held") >= 2)
        end(supervisor)
    assert supervisor.returncode == 0
    assert place.count("finished") == place.count("held")
    assert not any(alive(int(words[1])) for words in place.said())


@linux
def test_ctrl_c_on_a_terminal_reaches_children_once(place: Place, app: App) -> None:
    app.enqueue("hold", {"seconds": 0.5})
    with place.worker("--supervise") as supervisor:
        wait_for(lambda: place.count("held") == 1)
        child = int(place.said()[0][1])
        # another process group: the terminal's signal cannot reach it directly
        assert os.getpgid(child) != os.getpgid(supervisor.pid)
        end(supervisor, signal.SIGINT)
    assert supervisor.returncode == 0
    assert place.count("finished") == 1
