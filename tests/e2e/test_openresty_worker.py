"""The worker inside nginx: what it runs, and what is left when nginx reloads, quits, is killed."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from nginx import Nginx  # noqa: E402
from servers import RedisServer  # noqa: E402

from reeve import App, JobInfo, Retry  # noqa: E402

pytestmark = pytest.mark.timeout(180)

TASKS = 20_000
RELOADS = 5

HANDLERS = """
    fine = function(task) return { n = task.payload.n, attempt = task.attempt } end,
    fails = function() return nil, "no luck" end,
    raises = function() error("broken") end,
    throws = function() error { type = "Odd", message = "thrown" } end,
    fatal = function(task) return task:skip_retry("hopeless") end,
    gone = function(task) return task:discard() end,
    snoozes = function(task)
        if require("tally").count(url, "snoozed", task.id) == 1 then
            return task:snooze(0.05)
        end
        return "awake"
    end,
    recovers = function(task)
        if task.attempt < 3 then return nil, "not yet" end
        return task.attempt
    end,
    sleeps = function(task) ngx.sleep(task.payload.s) return "slept" end,
    counts = function(task)
        ngx.shared.done:incr(task.id, 1, 0)
        ngx.sleep(task.payload.s or 0)
    end,
    tallies = function(task)
        require("tally").count(url, "started", task.id)
        ngx.sleep(task.payload.s or 0)
        require("tally").count(url, "ended", task.id)
    end,
    cpu = { thread_pool = "cpu", module = "cpu" },
    missing = "no.such.module",
"""

SERVER = """
location /enqueue { content_by_lua_block {
    local client = require("producer")(ngx.var.arg_url)
    ngx.req.read_body()
    local items = require("reeve.core").json_decode(ngx.req.get_body_data())
    local infos, err, code = client:enqueue_many(items)
    if not infos or (code and code ~= "exists") then
        ngx.status = 503
        return ngx.say(err)
    end
    ngx.say(#infos)
} }
location /done { content_by_lua_block {
    local once, more = 0, 0
    for _, id in ipairs(ngx.shared.done:get_keys(0)) do
        if ngx.shared.done:get(id) == 1 then once = once + 1 else more = more + 1 end
    end
    ngx.say(once, " ", more)
} }
location /status { content_by_lua_block {
    ngx.say(require("reeve.core").json_encode(require("resty.reeve.worker").status()))
} }
location /wear { content_by_lua_block {
    local name, state = debug.getupvalue(require("resty.reeve.worker").status, 1)
    assert(name == "current")
    state.wear = 1e6 -- as after very many connections
    state:wake("main_wake")
    ngx.say(state.id)
} }
location /break { content_by_lua_block {
    local name, state = debug.getupvalue(require("resty.reeve.worker").status, 1)
    assert(name == "current")
    local methods = getmetatable(state).__index
    if ngx.var.arg_at == "plan" then -- before a turn with verdicts
        state.free_slots = function(self)
            return self.outbox_count > 0 and error("as a test wants it") or methods.free_slots(self)
        end
    else -- within it
        state.take_outbox = function(self, queue)
            local list = methods.take_outbox(self, queue)
            self.take_outbox = #list == 0 and self.take_outbox or nil
            return #list > 0 and error("as a test wants it") or list
        end
    end
} }
location /refuse { content_by_lua_block {
    local methods = getmetatable(require("reeve.core").protocol {}).__index
    local turn, left, code = methods.turn, 3, ngx.var.arg_code
    methods.turn = function(self, queue, jobs, ...)
        if #jobs > 0 and left > 0 then
            left = left - 1
            return nil, "as a test wants it", code
        end
        return turn(self, queue, jobs, ...)
    end
} }
location /plain { return 200 "plain"; }
"""


def worker(url: str, **options: object) -> str:
    """The http part of a configuration with a worker."""
    words = ", ".join(
        f"{name} = {value}" for name, value in {"concurrency": 16, "lease": 5, **options}.items()
    )
    return f"""
    lua_shared_dict done 20m;
    init_worker_by_lua_block {{
        local url = "{url}"
        assert(require("resty.reeve.worker").start {{
            url = url, {words}, handlers = {{ {HANDLERS} }} }})
    }}"""


def until(what: Callable[[], object], timeout_s: float = 60.0) -> None:
    end = time.monotonic() + timeout_s
    while not what():
        assert time.monotonic() < end, "the condition did not come true"
        time.sleep(0.01)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path / "redis") as server:
        yield server


@pytest.fixture
def app(redis: RedisServer) -> Iterator[App]:
    with App(redis.url) as made:
        yield made


def nginx_of(tmp_path: Path, url: str, *, workers: int = 1, **options: object) -> Nginx:
    return Nginx(
        tmp_path / "nginx",
        http=worker(url, **options),
        server=SERVER,
        main="thread_pool cpu threads=2;",
        workers=workers,
        level="notice",
    )


def finished(app: App, id: str, queue: str = "default") -> JobInfo:
    """The job when it has ended for good."""
    job = app.job(id, queue)
    until(lambda: job.state in ("completed", "archived"))
    return job.info()


def send(app: App, task: str, args: dict[str, object] | None = None, **options: Any) -> str:
    retry = Retry(max_attempts=3, backoff="fixed", base=0.02)
    return app.enqueue(task, args or {}, **{"retention": "1h", "retry": retry, **options}).id


# --- outcomes ----------------------------------------------------------------


def test_outcomes(tmp_path: Path, redis: RedisServer, app: App) -> None:
    """Results, retries by the task's own policy, and what a handler may say."""
    with nginx_of(tmp_path, redis.url) as nginx:
        fine = finished(app, send(app, "fine", {"n": 5}))
        assert (fine.state, json.loads(fine.result)) == ("completed", {"n": 5, "attempt": 1})
        fails = finished(app, send(app, "fails"))
        assert (fails.state, fails.reason) == ("archived", "attempts exhausted")
        assert fails.error == "Error: no luck"
        assert len(fails.history) == 3
        raises = finished(app, send(app, "raises"))
        assert raises.error is not None
        assert raises.error.startswith("LuaError: ")
        assert "broken" in raises.error
        assert "stack traceback" in raises.history[-1].traceback
        assert finished(app, send(app, "throws")).error == "Odd: thrown"
        fatal = finished(app, send(app, "fatal"))
        assert (fatal.reason, fatal.error) == ("fatal error", "SkipRetry: hopeless")
        recovers = finished(app, send(app, "recovers"))
        assert (recovers.state, json.loads(recovers.result)) == ("completed", 3)
        snoozes = finished(app, send(app, "snoozes"))
        assert json.loads(snoozes.result) == "awake"
        assert snoozes.attempts == 0  # a snooze burns none
        gone = send(app, "gone")
        until(lambda: app.job(gone).find() is None)
        nobody = finished(app, send(app, "nobody knows me"[:6]))
        assert nobody.error == "NoHandler: no handler for type 'nobody'"
        missing = finished(app, send(app, "missing"))
        assert missing.error is not None
        assert "no.such.module" in missing.error
        assert "[alert]" not in nginx.log()


def test_timeout_and_deadline(tmp_path: Path, redis: RedisServer, app: App) -> None:
    """A handler that takes too long is stopped and its slot is free again."""
    once = Retry(max_attempts=1)
    with nginx_of(tmp_path, redis.url, concurrency=1):
        slow = finished(app, send(app, "sleeps", {"s": 60}, timeout=0.1, retry=once))
        assert slow.error == "Timeout: the timeout of 0.1 s is over"
        late = send(app, "sleeps", {"s": 60}, expires=0.2, retry=once)
        assert finished(app, late).state == "archived"
        assert json.loads(finished(app, send(app, "sleeps", {"s": 0})).result) == "slept"


def test_past_its_deadline(tmp_path: Path, redis: RedisServer, app: App) -> None:
    """What nobody started in time never starts."""
    late = send(app, "fine", expires=0.05)
    time.sleep(0.1)  # the server's clock has to pass the deadline
    with nginx_of(tmp_path, redis.url):
        info = finished(app, late)
        assert (info.state, info.reason, info.history) == ("archived", "deadline passed", ())


def test_unreadable(tmp_path: Path, redis: RedisServer, app: App) -> None:
    """A message that is damaged, or has no body, stops nothing."""
    damaged, empty = send(app, "fine"), send(app, "fine")
    redis.command("HSET", "reeve:{default}:tasks", damaged, "no envelope")
    redis.command("HDEL", "reeve:{default}:tasks", empty)
    with nginx_of(tmp_path, redis.url):
        until(lambda: redis.command("ZCARD", "reeve:{default}:archived") == "1")
        assert finished(app, damaged).reason.startswith("envelope: ")
        assert finished(app, send(app, "fine", {"n": 1})).state == "completed"
        assert app.job(empty).find() is None


def test_worker_thread(tmp_path: Path, redis: RedisServer, app: App) -> None:
    """CPU-heavy handlers run in a thread pool of nginx."""
    with nginx_of(tmp_path, redis.url):
        info = finished(app, send(app, "cpu", {"n": 1000}))
        assert json.loads(info.result) == {"sum": 500500}


def test_due_tasks_and_queues(tmp_path: Path, redis: RedisServer, app: App) -> None:
    """Nginx alone promotes what is due, in every queue that it has."""
    with nginx_of(tmp_path, redis.url, queues="{ a = 3, b = 1 }", order="'strict'") as nginx:
        first = send(app, "fine", {"n": 1}, delay=0.2, queue="a")
        second = send(app, "fine", {"n": 2}, delay=0.3, queue="b")
        assert finished(app, first, "a").state == "completed"
        assert finished(app, second, "b").state == "completed"
        beats = app.workers()
        assert [(w.concurrency, w.pid) for w in beats] == [(16, nginx.workers()[0])]
        nginx.stop(signal.SIGQUIT)
        assert app.workers() == []


def test_wrong_options(tmp_path: Path, redis: RedisServer) -> None:
    """Options are checked in init_worker, before anything runs."""
    http = """init_worker_by_lua_block {
        local start = require("resty.reeve.worker").start
        local function try(options)
            local _, err, code = start(options)
            ngx.log(ngx.WARN, "said: ", code, " ", err)
        end
        local handlers = { t = function() end }
        try { url = "redis://h" }
        try { url = "redis://h", handlers = { t = 5 } }
        try { url = "redis://h", handlers = { t = { module = "m" } } }
        try { url = "redis://h", handlers = handlers, concurency = 5 }
        try { url = "redis://h", handlers = handlers, queues = { a = 0 } }
        try { url = "redis://h", handlers = handlers, order = "random" }
        try { handlers = handlers }
    }"""
    with Nginx(tmp_path, http=http) as nginx:
        nginx.wait_log("url is missing")
        log = nginx.log()
        for text in (
            "handlers is missing",
            "must be a function, a module's name or a table",
            "must name its thread_pool and module",
            "no option 'concurency'",
            "weight of queue 1",
            "order is 'random'",
        ):
            assert text in log


# --- leases --------------------------------------------------------------------


def test_long_runs_keep_their_lease(tmp_path: Path, redis: RedisServer, app: App) -> None:
    """A run three times as long as its lease is one run."""
    with nginx_of(tmp_path, redis.url, lease=0.4):
        info = finished(app, send(app, "sleeps", {"s": 1.2}))
        assert (info.state, info.crashes) == ("completed", 0)


def test_takeover(tmp_path: Path, redis: RedisServer, app: App) -> None:
    """What a killed nginx worker held is run by another one."""
    with nginx_of(tmp_path, redis.url, lease=0.5) as nginx:
        ids = [send(app, "tallies", {"s": 0.3}) for _ in range(4)]
        until(lambda: redis.command("HLEN", "started") == "4")
        subprocess.run(["kill", "-KILL", str(nginx.workers()[0])], check=True)
        infos = [finished(app, id) for id in ids]
    assert {info.state for info in infos} == {"completed"}
    assert {info.crashes for info in infos} == {1}


def test_stolen_lease(tmp_path: Path, redis: RedisServer, app: App) -> None:
    """A handler whose task is another worker's now is stopped; its outcome is nothing."""
    with nginx_of(tmp_path, redis.url, lease=0.6, concurrency=1) as nginx:
        id = send(app, "tallies", {"s": 20})
        until(lambda: redis.command("HEXISTS", "started", id) == "1")
        redis.command("HSET", "reeve:{default}:active", id, "999")
        nginx.wait_log("LEASE_LOST")
        assert json.loads(finished(app, send(app, "sleeps", {"s": 0})).result) == "slept"
        assert redis.command("HLEN", "ended") == "0"


# --- one queue is damaged ------------------------------------------------------


def damage(redis: RedisServer, queue: str, *keys: str) -> None:
    """Its keys are of a type that every script refuses."""
    for key in keys:
        redis.command("SET", f"reeve:{{{queue}}}:{key}", "damaged")


def test_a_damaged_queue_stops_no_role(tmp_path: Path, redis: RedisServer, app: App) -> None:
    """What is due is moved, swept and taken over in the next queue; the worker shows itself."""
    damage(redis, "a", "scheduled", "leases", "completed")
    with nginx_of(tmp_path, redis.url, lease=0.5, queues="{ 'a', 'b' }") as nginx:
        held = send(app, "tallies", {"s": 0.3}, queue="b")
        until(lambda: redis.command("HLEN", "started") == "1")
        subprocess.run(["kill", "-KILL", str(nginx.workers()[0])], check=True)
        assert finished(app, held, "b").crashes == 1
        until(app.workers)
        start = time.monotonic()
        brief = send(app, "fine", {"n": 1}, queue="b", delay=0.1, retention=0.1)
        until(lambda: app.job(brief, "b").find() is None)
        assert time.monotonic() - start < 15
        log = nginx.log()
        for role in ("promote", "reclaim", "sweep"):  # of two processes
            assert 0 < log.count(f"{role} of queue a is refused: ") <= 2


def test_a_damaged_queue_costs_no_lease(tmp_path: Path, redis: RedisServer, app: App) -> None:
    """Leases of every length are extended in the other queue."""
    with nginx_of(tmp_path, redis.url, queues="{ 'a', 'b' }") as nginx:
        for active, lease in enumerate([0.55, 0.5, 0.6, 0.7, 0.8, 0.9], 1):
            send(app, "sleeps", {"s": 60}, queue="b" if active > 1 else "a", lease=lease)
            until(lambda n=active: json.loads(nginx.get("/status")[1])["active"] == n)
        damage(redis, "a", "leases")
        time.sleep(2)  # longer than the longest
        now_ms = int(time.time() * 1000)
        assert redis.command("ZCOUNT", "reeve:{b}:leases", "-inf", str(now_ms)) == "0"
        assert json.loads(nginx.get("/status")[1])["active"] == 6
        assert nginx.log().count("extend of queue a is refused: ") == 1


@pytest.mark.parametrize("order", ["weighted", "strict"])
def test_a_damaged_queue_slows_no_other(
    tmp_path: Path, redis: RedisServer, app: App, order: str
) -> None:
    damage(redis, "a", "leases")
    queues = "{ 'a', 'b' }"
    with nginx_of(tmp_path, redis.url, concurrency=1, queues=queues, order=f"'{order}'") as nginx:
        send(app, "fine", {"n": 0}, queue="a")
        nginx.wait_log("a turn of queue a is refused: ")
        start = time.monotonic()
        for number in range(200):
            send(app, "fine", {"n": number}, queue="b")
        until(lambda: redis.command("ZCARD", "reeve:{b}:completed") == "200")
        assert time.monotonic() - start < 10
        assert nginx.log().count("a turn of queue a is refused: ") == 1


def test_a_damaged_bell_makes_no_haste(tmp_path: Path, redis: RedisServer, app: App) -> None:
    """Its worker looks into the queues now and then, and does not connect all the time."""

    def connections() -> int:
        return int(redis.info("stats")["total_connections_received"])

    with nginx_of(tmp_path, redis.url, concurrency=1, queues="{ 'a', 'b' }") as nginx:
        for _ in range(3):
            send(app, "sleeps", {"s": 0.3}, queue="a")
        until(lambda: json.loads(nginx.get("/status")[1])["active"] == 1)
        damage(redis, "a", "bell")
        nginx.wait_log("the doorbell is refused: ")
        before = connections()
        time.sleep(2)
        assert connections() - before < 50
        assert finished(app, send(app, "fine", {"n": 1}, queue="b"), "b").state == "completed"
        assert nginx.log().count("the doorbell is refused: ") == 1


def test_a_verdict_waits_for_its_queue(tmp_path: Path, redis: RedisServer, app: App) -> None:
    """What a damaged queue refuses is stored once it is mended; leaving does not wait for that."""
    damage(redis, "a", "completed")
    with nginx_of(tmp_path, redis.url, queues="{ 'a', 'b' }") as nginx:
        held = send(app, "tallies", queue="a")
        nginx.wait_log("a turn of queue a is refused: ")
        assert finished(app, send(app, "fine", {"n": 1}, queue="b"), "b").state == "completed"
        until(
            lambda: json.loads(nginx.get("/status")[1])["unstored"] == 1
        )  # not on its way just now
        redis.command("DEL", "reeve:{a}:completed")
        info = finished(app, held, "a")
        assert (info.state, info.crashes) == ("completed", 0)
        assert redis.command("HLEN", "ended") == "1"
        damage(redis, "a", "completed")
        send(app, "tallies", queue="a")
        until(lambda: json.loads(nginx.get("/status")[1])["unstored"] == 1)
        assert nginx.stop(signal.SIGQUIT) < 10


@pytest.mark.parametrize("code", ["invalid", "no-memory"])
def test_a_turn_that_is_not_taken(tmp_path: Path, redis: RedisServer, app: App, code: str) -> None:
    """Verdicts that the protocol object refuses are offered again."""
    with nginx_of(tmp_path, redis.url, lease=30, queues="{ 'a', 'b' }") as nginx:
        nginx.get(f"/refuse?code={code}")
        start = time.monotonic()
        ids = [send(app, "tallies", queue=queue) for queue in ("a", "b")]
        infos = [finished(app, id, queue) for id, queue in zip(ids, "ab", strict=True)]
        assert [(info.state, info.crashes) for info in infos] == [("completed", 0)] * 2
        assert time.monotonic() - start < 20
        assert redis.command("HLEN", "ended") == "2"
        assert "as a test wants it" in nginx.log()


# --- the server goes away ------------------------------------------------------


def test_server_restarts(tmp_path: Path, redis: RedisServer, app: App) -> None:
    """Nginx stays up without its server and goes on when it is back."""
    redis.kill()
    with nginx_of(tmp_path, redis.url) as nginx:
        assert nginx.get("/plain") == (200, "plain")
        nginx.wait_log("trying again")
        redis.start()
        assert finished(app, send(app, "fine", {"n": 1})).state == "completed"
        redis.kill()
        assert nginx.get("/plain") == (200, "plain")
        redis.start()
        assert finished(app, send(app, "fine", {"n": 2})).state == "completed"
        assert nginx.stop(signal.SIGQUIT) < 20
        assert "[alert]" not in nginx.log()


def test_quit_without_a_server(tmp_path: Path, redis: RedisServer) -> None:
    nginx = nginx_of(tmp_path, redis.url).start()
    redis.kill()
    nginx.wait_log("trying again")
    assert nginx.stop(signal.SIGQUIT) < 20


# --- leaving -------------------------------------------------------------------


def test_quit_hands_back(tmp_path: Path, redis: RedisServer, app: App) -> None:
    """QUIT ends what runs, and what does not run waits for the next worker."""
    ids = [send(app, "tallies", {"s": 0.3}) for _ in range(40)]
    nginx = nginx_of(tmp_path, redis.url, lease=30, concurrency=8).start()
    until(lambda: redis.command("HLEN", "started") == "8")
    nginx.stop(signal.SIGQUIT)
    started, ended = int(redis.command("HLEN", "started")), int(redis.command("HLEN", "ended"))
    states = [app.job(id).state for id in ids]
    assert started == ended == states.count("completed")
    assert states.count("pending") == 40 - ended
    assert app.workers() == []
    assert "[alert]" not in nginx.log()


def test_grace_is_over(tmp_path: Path, redis: RedisServer, app: App) -> None:
    """A handler that runs on after the grace goes back to its queue, without a crash."""
    id = send(app, "tallies", {"s": 60})
    nginx = nginx_of(tmp_path, redis.url, lease=30, grace=0.3).start()
    until(lambda: redis.command("HLEN", "started") == "1")
    assert nginx.stop(signal.SIGQUIT) < 30
    info = app.job(id).info()
    assert (info.state, info.crashes, info.attempts) == ("pending", 0, 0)


def test_term_leaves_it_to_the_lease(tmp_path: Path, redis: RedisServer, app: App) -> None:
    """TERM ends nginx at once; leases bring back what it held."""
    ids = [send(app, "tallies", {"s": 0.5}) for _ in range(30)]
    nginx = nginx_of(tmp_path, redis.url, lease=0.5, concurrency=10).start()
    until(lambda: redis.command("HLEN", "started") == "10")
    nginx.stop(signal.SIGTERM)
    assert [app.job(id).state for id in ids].count("active") == 10
    with nginx_of(tmp_path, redis.url, lease=0.5, concurrency=30):
        infos = [finished(app, id) for id in ids]
    assert {info.state for info in infos} == {"completed"}
    assert sorted(info.crashes for info in infos) == [0] * 20 + [1] * 10


class Load:
    """TASKS tasks by HTTP; a batch whose answer was lost is sent again with the same ids."""

    def __init__(self, nginx: Nginx, url: str) -> None:
        self.nginx, self.url = nginx, url
        self.sent = 0
        self.again = 0
        self.thread = threading.Thread(target=self.run)

    def post(self, items: list[object]) -> None:
        status, text = self.nginx.get(f"/enqueue?url={self.url}", json.dumps(items))
        if status != 200:
            raise http.client.HTTPException(text)

    def run(self) -> None:
        for first in range(0, TASKS, 50):
            numbers = range(first, first + 50)
            items = [["counts", {"s": 0.002}, {"id": f"n{i}"}] for i in numbers]
            while True:
                try:
                    self.post(items)
                    break
                except (OSError, http.client.HTTPException):
                    self.again += 1
            self.sent += 50


def test_reloads_under_load(tmp_path: Path, redis: RedisServer, app: App) -> None:
    """Five reloads while tasks come and go: each task runs exactly once."""
    with nginx_of(tmp_path, redis.url, workers=2, concurrency=32, lease=30) as nginx:
        load = Load(nginx, redis.url)
        wrk = subprocess.Popen(
            ["wrk", "-t1", "-c8", "-d60s", f"http://127.0.0.1:{nginx.port}/plain"],
            stdout=subprocess.PIPE,
            text=True,
        )
        load.thread.start()
        for number in range(RELOADS):
            until(lambda n=number: load.sent >= (n + 1) * TASKS // (RELOADS + 1))
            nginx.reload()
        load.thread.join()
        wrk.send_signal(signal.SIGINT)
        report = wrk.communicate()[0]

        def done() -> list[int]:
            return [int(word) for word in nginx.get("/done")[1].split()]

        until(lambda: sum(done()) == TASKS)
        assert done() == [TASKS, 0]
        queue = app.queues()[0]
        assert (queue.backlog, queue.done_total, queue.failed_total) == (0, TASKS, 0)
        assert "Non-2xx" not in report
        log = nginx.log()
        assert "[alert]" not in log
        assert "LEASE_LOST" not in log
        assert "took over" not in log
        assert log.count("(SIGHUP) received") == RELOADS


# --- what an operator says -----------------------------------------------------


def listens(redis: RedisServer) -> bool:
    """Whether the worker has subscribed to its control messages."""
    return "sub=2" in redis.command("CLIENT", "LIST", "TYPE", "pubsub")


def test_quiet_and_resume(tmp_path: Path, redis: RedisServer, app: App) -> None:
    """A worker that was told so claims nothing, until it is told otherwise."""
    with nginx_of(tmp_path, redis.url) as nginx:
        until(lambda: listens(redis))
        worker_id = app.inspect.workers()[0].id
        app.inspect.quiet("somebody-else")
        assert finished(app, send(app, "fine", {"n": 1})).state == "completed"
        app.inspect.quiet(worker_id)
        until(lambda: json.loads(nginx.get("/status")[1])["quiet"])
        job = send(app, "fine", {"n": 2})
        until(lambda: app.inspect.workers()[0].quiet)  # its next beat: time to claim there was
        assert app.job(job, "default").info().state == "pending"
        app.inspect.quiet(worker_id, False)
        assert finished(app, job).state == "completed"
        until(lambda: not app.inspect.workers()[0].quiet)
        assert nginx.stop(signal.SIGQUIT) < 10


def test_quiet_is_heard_after_a_lost_connection(
    tmp_path: Path, redis: RedisServer, app: App
) -> None:
    with nginx_of(tmp_path, redis.url):
        until(lambda: listens(redis))
        redis.command("CLIENT", "KILL", "TYPE", "pubsub")
        until(lambda: listens(redis))
        app.inspect.quiet()
        until(lambda: app.inspect.workers()[0].quiet)


def test_quiet_outlives_a_worn_timer(tmp_path: Path, redis: RedisServer, app: App) -> None:
    """nginx renews the timer and with it the worker; what it was told holds."""
    with nginx_of(tmp_path, redis.url) as nginx:
        until(lambda: listens(redis))
        app.inspect.quiet()
        until(lambda: json.loads(nginx.get("/status")[1])["quiet"])
        worn = nginx.get("/wear")[1].strip()

        def renewed() -> dict[str, object] | None:
            status: dict[str, object] | None = json.loads(nginx.get("/status")[1])
            return status if status and status["id"] != worn else None

        until(renewed)
        status = renewed()
        assert status is not None
        assert status["quiet"]
        until(lambda: listens(redis))
        app.inspect.quiet(quiet=False)
        assert finished(app, send(app, "fine", {"n": 1})).state == "completed"


@pytest.mark.parametrize("at", ["plan", "turn"])
def test_verdicts_outlive_a_failed_run(
    tmp_path: Path, redis: RedisServer, app: App, at: str
) -> None:
    """An error in the worker loses neither what has ended nor what still runs."""
    with nginx_of(tmp_path, redis.url, lease=30) as nginx:
        until(lambda: listens(redis))
        ids = [send(app, "tallies", {"s": s}) for s in (0.5, 2.5)]
        until(lambda: redis.command("HLEN", "started") == "2")
        nginx.get(f"/break?at={at}")
        start = time.monotonic()
        infos = [finished(app, id) for id in ids]
        assert [(info.state, info.crashes) for info in infos] == [("completed", 0)] * 2
        assert time.monotonic() - start < 20
        assert redis.command("HLEN", "ended") == "2"
        assert nginx.log().count("worker failed and starts again") == 1
        assert redis.command("CLIENT", "LIST", "TYPE", "pubsub").count("sub=2") == 1


def test_verdicts_outlive_a_worn_timer(tmp_path: Path, redis: RedisServer, app: App) -> None:
    """Also when the server is away then."""
    with nginx_of(tmp_path, redis.url, lease=30) as nginx:

        def status() -> dict[str, Any]:
            return json.loads(nginx.get("/status")[1]) or {}

        id = send(app, "sleeps", {"s": 1})
        until(lambda: status().get("active") == 1)
        redis.command("SAVE")
        redis.kill()
        until(lambda: status().get("unstored") == 1)
        worn = nginx.get("/wear")[1].strip()
        until(lambda: status().get("id", worn) != worn)
        redis.start()
        info = finished(app, id)
        assert (info.state, info.crashes) == ("completed", 0)


def test_central_weights(tmp_path: Path, redis: RedisServer, app: App) -> None:
    """Weights that are set while it runs, and taken back."""
    with nginx_of(tmp_path, redis.url, queues="{ a = 6, b = 1 }"):
        until(lambda: listens(redis) and app.inspect.workers())
        assert app.inspect.workers()[0].queues == "a=6,b=1"
        app.inspect.set_weight("b", 40)
        app.inspect.set_weight("elsewhere", 3)
        until(lambda: app.inspect.workers()[0].queues == "a=6,b=40")
        assert finished(app, send(app, "fine", {"n": 1}, queue="b"), "b").state == "completed"
        app.inspect.set_weight("b", 0)
        until(lambda: app.inspect.workers()[0].queues == "a=6,b=1")


def test_weights_set_before(tmp_path: Path, redis: RedisServer, app: App) -> None:
    app.inspect.set_weight("a", 9)
    with nginx_of(tmp_path, redis.url, queues="{ a = 6, b = 1 }"):
        until(lambda: any(w.queues == "a=9,b=1" for w in app.inspect.workers()))


@pytest.mark.parametrize("weight", ["x", "0", "1001", "2.5", ""])
def test_weights_that_are_none(tmp_path: Path, redis: RedisServer, app: App, weight: str) -> None:
    """Somebody else wrote it: the queue has its own weight, and the others theirs."""
    redis.command("HSET", "reeve:weights", "b", weight, "a", "9")
    with nginx_of(tmp_path, redis.url, queues="{ a = 6, b = 1 }"):
        until(lambda: any(w.queues == "a=9,b=1" for w in app.inspect.workers()))
        assert finished(app, send(app, "fine", {"n": 1}, queue="b"), "b").state == "completed"


def test_dead_beats_are_swept(tmp_path: Path, redis: RedisServer, app: App) -> None:
    """An entry of a worker that was not heard of for an hour goes, a younger one stays."""
    now_ms = int(time.time() * 1000)
    for name, age_ms in (("old", 3_700_000), ("young", 3_400_000)):
        beat = f"1\n{now_ms - age_ms}\n{now_ms - age_ms}\n1\n0\n0\n0\n0\nhost\nq=1"
        redis.command("HSET", "reeve:workers", name, beat)
    redis.command("HSET", "reeve:workers", "broken", "no beat")
    with nginx_of(tmp_path, redis.url):
        until(lambda: not redis.command("HEXISTS", "reeve:workers", "old").endswith("1"))
        until(lambda: not redis.command("HEXISTS", "reeve:workers", "broken").endswith("1"))
        assert "young" in [info.id for info in app.inspect.workers()]
