"""The extension module: wrong use raises, objects outlive each other safely, calls do not leak."""

from __future__ import annotations

import gc
import logging
import queue
import resource
import select
import subprocess
import sys
import threading
import uuid
import weakref
from typing import Any

import pytest

import reeve
from reeve import App, InvalidError, StateError, TaskExists, UsageError, _core, _errors


@pytest.fixture
def env() -> _core.Env:
    return _core.Env()


@pytest.fixture
def url() -> str:
    return f"mem://{uuid.uuid4().hex}"


def make_worker(url: str, env: _core.Env, **options: Any) -> _core.Worker:
    worker = _core.Worker(url, env, (("default", 1),), manual=True, **options)
    worker.start()
    return worker


def take(worker: _core.Worker) -> list[_core.Delivery]:
    worker.step()
    return [e for e in worker.poll(100, 0) if isinstance(e, _core.Delivery)]


def test_every_code_has_its_class() -> None:
    for slug, cls in _errors.BY_SLUG.items():
        assert cls.slug == slug
        assert issubclass(cls, _errors.Error)
    assert _core.code_slug(-42) == "lease-lost"
    assert _core.code_slug(5) == "unknown"
    assert issubclass(_errors.InvalidError, ValueError)
    assert issubclass(_errors.NetworkError, ConnectionError)
    assert issubclass(_errors.TimeoutError, TimeoutError)
    assert issubclass(_errors.NotFound, LookupError)


def test_exceptions_are_named_as_they_are_imported() -> None:
    for name in reeve.__all__:
        value = getattr(reeve, name)
        if isinstance(value, type) and issubclass(value, BaseException):
            assert f"{value.__module__}.{value.__qualname__}" == f"reeve.{name}"


@pytest.mark.parametrize(
    "call",
    [
        lambda: _core.Env(log=5),  # type: ignore[arg-type]
        lambda: _core.Env(log_level="x"),  # type: ignore[arg-type]
        lambda: _core.Template(5),  # type: ignore[arg-type]
        lambda: _core.Template("t", 5),  # type: ignore[arg-type]
        lambda: _core.Template("t", headers=[("a", "b")]),  # type: ignore[arg-type]
        lambda: _core.Template("t", headers=(("a",),)),  # type: ignore[arg-type]
        lambda: _core.Template("t", headers=("ab",)),  # type: ignore[arg-type]
        lambda: _core.Template("t", headers=(("a", 5),)),  # type: ignore[arg-type]
        lambda: _core.Template("t", retry=(1, 2)),  # type: ignore[arg-type]
        lambda: _core.Template("t", retry=[1]),  # type: ignore[arg-type]
        lambda: _core.Template("t", delay_ms=1.5),  # type: ignore[arg-type]
        lambda: _core.Client("mem://x", None),  # type: ignore[arg-type]
        lambda: _core.Worker("mem://x", _core.Env(), [("a", 1)]),  # type: ignore[arg-type]
        lambda: _core.Worker("mem://x", _core.Env(), (("a",),)),  # type: ignore[arg-type]
        lambda: _core.Delivery(),
    ],
)
def test_wrong_types_raise(call: Any) -> None:
    with pytest.raises(TypeError):
        call()


def test_numbers_past_64_bits() -> None:
    with pytest.raises(OverflowError):
        _core.Template("t", delay_ms=2**63)


def test_too_many_delays() -> None:
    with pytest.raises(ValueError, match="33 delays"):
        _core.Template("t", retry=(4, 0, 5, 1, 1, 2.0, 0, tuple(range(33))))


def test_the_core_names_thing_value_and_bound(url: str, env: _core.Env) -> None:
    client = _core.Client(url, env)
    with pytest.raises(InvalidError, match="queue"):
        client.enqueue(_core.Template("t", "a b"), b"")
    with pytest.raises(InvalidError, match="priority 11"):
        client.enqueue(_core.Template("t", priority=11), b"")
    with pytest.raises(InvalidError):
        client.enqueue(_core.Template("t", delay_ms=-5), b"")


def test_enqueue_calls_check_their_items(url: str, env: _core.Env) -> None:
    client = _core.Client(url, env)
    t = _core.Template("t", "q")
    for call in (
        lambda: client.enqueue(t),  # type: ignore[call-arg]
        lambda: client.enqueue(t, "text"),  # type: ignore[arg-type]
        lambda: client.enqueue("t", b""),  # type: ignore[arg-type]
        lambda: client.enqueue_many(t, ["x"]),  # type: ignore[list-item]
        lambda: client.enqueue_many(t, 5),  # type: ignore[arg-type]
        lambda: client.enqueue_batch([(t,)]),  # type: ignore[list-item]
        lambda: client.enqueue_batch([t]),  # type: ignore[list-item]
        lambda: client.enqueue_batch([(t, "x")]),  # type: ignore[list-item]
    ):
        with pytest.raises(TypeError):
            call()
    assert client.enqueue_many(t, []) == []
    assert client.enqueue_batch([]) == []


def test_a_batch_tells_each_items_fate(url: str, env: _core.Env) -> None:
    client = _core.Client(url, env)
    fixed = _core.Template("t", "q", "same")
    rows = client.enqueue_batch([(fixed, b"1"), (fixed, b"2"), (_core.Template("t", "q"), b"3")])
    assert [row[0] for row in rows][::2] == [0, 0]
    assert _core.code_slug(rows[1][0]) == "exists"
    with pytest.raises(TaskExists):
        client.enqueue(fixed, b"")


def test_closed_things_say_so(url: str, env: _core.Env) -> None:
    client, inspector = _core.Client(url, env), _core.Inspector(url, env)
    for thing in (client, inspector):
        thing.close()
        thing.close()
    with pytest.raises(StateError, match="client is closed"):
        client.now_at_ms()
    with pytest.raises(StateError, match="inspector is closed"):
        inspector.queues()


def test_closing_while_others_call(url: str, env: _core.Env) -> None:
    client = _core.Client(url, env)
    template = _core.Template("t", "q")
    refused: list[bool] = []

    def produce() -> None:
        try:
            while True:
                client.enqueue_many(template, [b"x"] * 100)
        except StateError:
            refused.append(True)

    threads = [threading.Thread(target=produce) for _ in range(4)]
    for thread in threads:
        thread.start()
    client.close()
    for thread in threads:
        thread.join()
    assert refused == [True] * 4


def test_a_delivery_is_completed_once(url: str, env: _core.Env) -> None:
    client, worker = _core.Client(url, env), make_worker(url, env)
    client.enqueue(_core.Template("t", headers=(("a", "b"),)), b"payload")
    (delivery,) = take(worker)
    assert (delivery.type, delivery.queue, delivery.payload) == ("t", "default", b"payload")
    assert delivery.headers == [("a", "b")]
    with pytest.raises(ValueError, match="twice"):
        worker.complete_many([delivery, delivery])
    worker.complete_many([delivery])
    for use in (lambda: delivery.payload, lambda: delivery.headers):
        with pytest.raises(StateError, match="delivery is completed"):
            use()
    with pytest.raises(StateError, match="delivery is completed"):
        worker.complete_many([delivery])
    assert (delivery.type, delivery.attempt, delivery.cancel_reason) == ("t", 1, 0)


def test_completions_are_checked_before_any_is_used(url: str, env: _core.Env) -> None:
    client, worker = _core.Client(url, env), make_worker(url, env)
    client.enqueue_many(_core.Template("t"), [b""] * 2)
    first, second = take(worker)
    other = make_worker(url, env)
    for bad in (
        5,
        (second,),
        (second, 5),
        (second, ("x", None, 0, None, None, None)),
        (1, (0, b"", 0, b"", b"", b"")),
    ):
        with pytest.raises(TypeError):
            worker.complete_many([first, bad])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="result must be str or bytes"):
        worker.complete_many([(first, (0, 5, 0, None, None, None))])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="another worker"):
        other.complete_many([first])
    worker.complete_many([first, second])
    worker.step()
    assert worker.stats()["done"] == 2


def test_a_dropped_delivery_goes_back(url: str, env: _core.Env) -> None:
    client, worker = _core.Client(url, env), make_worker(url, env)
    client.enqueue(_core.Template("t"), b"")
    (delivery,) = take(worker)
    del delivery
    gc.collect()
    worker.step()
    (again,) = take(worker) or take(worker)
    assert again.attempt == 1
    worker.complete_many([again])


def test_a_worker_lives_as_long_as_its_deliveries(url: str, env: _core.Env) -> None:
    client = _core.Client(url, env)
    client.enqueue(_core.Template("t"), b"x")
    worker = make_worker(url, env)
    (delivery,) = take(worker)
    del worker
    gc.collect()
    assert delivery.payload == b"x"
    del delivery
    inspector = _core.Inspector(url, env)
    assert inspector.queues()[0]["active"] == 0


def serving(
    url: str, env: _core.Env, threads: list[threading.Thread], ran: queue.SimpleQueue[bytes]
) -> _core.Worker:
    """A worker whose task "plain" runs in threads and returns its payload."""
    worker = _core.Worker(url, env, (("default", 1),), concurrency=4)

    def work() -> None:
        delivery = worker.take()
        while delivery is not None:
            delivery = worker.take(delivery, delivery.task(delivery))

    def spawn() -> bool:
        threads.append(threading.Thread(target=work))
        threads[-1].start()
        return True

    def plain(delivery: _core.Delivery) -> bytes:
        ran.put(delivery.payload)
        return delivery.payload

    worker.serve((("plain", plain, True), ("coro", None, False)), spawn)
    worker.start()
    spawn()
    return worker


def of_the_loop(worker: _core.Worker, count: int) -> list[_core.Delivery | None]:
    """The next that threads leave to the loop; None is the end."""
    left: list[_core.Delivery | None] = []
    while len(left) < count:
        assert select.select([worker.fd()], [], [], 20)[0]
        for event in worker.poll(100, 0):
            assert event is None or isinstance(event, _core.Delivery)
            left.append(event)
            if event is not None:
                worker.complete_many([(event, b"loop")])
    return left


def test_threads_take_what_is_plain_and_the_loop_the_rest(url: str, env: _core.Env) -> None:
    client, threads = _core.Client(url, env), list[threading.Thread]()
    for i in range(20):
        for name in ("plain", "coro", "plain"):
            client.enqueue(_core.Template(name), b"%d" % i)
    ran = queue.SimpleQueue[bytes]()
    worker = serving(url, env, threads, ran)
    left = of_the_loop(worker, 20)
    assert [d.type for d in left if d] == ["coro"] * 20
    # A stop hands back what has not started, so each has started before it.
    assert sorted(ran.get(timeout=20) for _ in range(40)) == sorted(
        b"%d" % (i // 2) for i in range(40)
    )
    worker.stop()
    assert of_the_loop(worker, 1) == [None]
    for thread in threads:
        thread.join(20)
    assert not any(thread.is_alive() for thread in threads)
    assert worker.stats()["done"] == 60


def test_threads_end_when_a_worker_is_closed(url: str, env: _core.Env) -> None:
    threads: list[threading.Thread] = []
    worker = serving(url, env, threads, queue.SimpleQueue())
    worker.close()
    worker.close()
    threads[0].join(20)
    assert not threads[0].is_alive()
    worker.stop()
    worker.join(20_000)


def test_what_serve_and_take_refuse(url: str, env: _core.Env) -> None:
    worker = make_worker(url, env)
    with pytest.raises(TypeError, match="no task here is plain"):
        worker.take()
    for bad in ((1,), (("a", None),), ((b"a", None, True),)):
        with pytest.raises(TypeError):
            worker.serve(bad, bool)  # type: ignore[arg-type]
    worker.serve((), bool)
    with pytest.raises(StateError, match="serves already"):
        worker.serve((), bool)


def test_a_worker_that_never_ran_is_collected(url: str, env: _core.Env) -> None:
    class Owner:
        def spawn(self) -> bool:
            return False

    owner = Owner()
    owner.worker = make_worker(url, env)  # type: ignore[attr-defined]
    owner.worker.serve((("t", owner, True),), owner.spawn)  # type: ignore[attr-defined]
    gone = weakref.ref(owner)
    del owner
    gc.collect()
    assert gone() is None


def test_poll_bounds(url: str, env: _core.Env) -> None:
    worker = make_worker(url, env)
    for bad in (0, 4097):
        with pytest.raises(ValueError, match="must be 1 to 4096"):
            worker.poll(bad, 0)
    assert worker.poll(1, 0) == []


def test_the_clock_of_an_env() -> None:
    env = _core.Env(virtual_now_at_ms=1_000_000)
    env.advance(500)
    assert env.now_at_ms() == 1_000_500
    with pytest.raises(InvalidError):
        env.advance(-1)
    with pytest.raises(UsageError):
        _core.Env().advance(1)


def test_log_lines_come_on_a_python_thread(env: _core.Env) -> None:
    lines: list[tuple[int, str]] = []
    threads: set[int] = set()

    def log(level: int, line: str) -> None:
        threads.add(threading.get_ident())
        lines.append((level, line))

    # two workers with one id on one store: the core has something to say at its levels
    loud = _core.Env(log=log, log_level=4)
    assert loud.log_fd() >= 0
    url = f"mem://{uuid.uuid4().hex}"
    worker = _core.Worker(url, loud, (("default", 1),), concurrency=1)
    worker.start()
    client = _core.Client(url, loud)
    client.enqueue(_core.Template("t", timeout_ms=1), b"")
    worker.poll(10, 10_000)
    worker.stop()
    worker.stop()
    worker.join(10_000)
    loud.flush()
    assert threads <= {threading.get_ident()}
    assert _core.Env().log_fd() == -1


def test_a_log_that_raises_breaks_nothing(recwarn: pytest.WarningsRecorder) -> None:
    def log(level: int, line: str) -> None:
        raise RuntimeError(line)

    app = App(f"mem://{uuid.uuid4().hex}")
    app._env = _core.Env(log=log, log_level=4)
    app.enqueue("t", {})
    assert app.inspect.queue("default").pending == 1


def test_calls_do_not_leak(url: str, env: _core.Env) -> None:
    client, inspector = _core.Client(url, env), _core.Inspector(url, env)
    worker = make_worker(url, env, concurrency=100)

    def round() -> None:
        template = _core.Template("t", headers=(("a", "b"),), retry=(1, 0, 5, 1, 1, 2.0, 0, ()))
        client.enqueue_many(template, [b"x" * 100] * 50)
        client.enqueue_batch([(template, b"y" * 100)] * 50)
        with pytest.raises(InvalidError):
            client.enqueue(_core.Template("t", "a b"), b"")
        inspector.tasks("default", "pending", 0, 100)
        inspector.queues()
        done = take(worker)
        assert len(done) == 100
        worker.complete_many(
            [(d, (0, b"r" * 10, 0, None, None, None)) if d.serial % 3 == 0 else d for d in done]
        )
        worker.step()

    for _ in range(50):
        round()
    gc.collect()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(400):
        round()
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    # 40 000 tasks: a leak of one object each would be past 4 MiB
    assert grown_kib < 4096


def test_import_is_quiet_and_light() -> None:
    code = (
        "import sys, threading, reeve; "
        "heavy = {'rich', 'click', 'pydantic', 'attr', 'msgspec', 'asyncio', 'ssl', 'socket', "
        "'subprocess', 'concurrent.futures'} & set(sys.modules); "
        "assert not heavy, heavy; assert threading.active_count() == 1"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_sub_logger_names() -> None:
    assert any(isinstance(h, logging.NullHandler) for h in logging.getLogger("reeve").handlers)
