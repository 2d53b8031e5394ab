"""A queue whose keys another program has overwritten, beside queues that are well."""

from __future__ import annotations

import random
import time

from support.servers import RedisServer

from proof.stage import Stage

QUEUES = ("bad", "one", "two")
KEYS = ("tasks", "pending", "active", "leases", "meta", "bell", "completed", "results")

_BREAK = """if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('RENAME', KEYS[1], KEYS[2])
redis.call('SET', KEYS[1], 'x')
return 1"""
_MEND = "redis.call('DEL', KEYS[1]) return redis.call('RENAME', KEYS[2], KEYS[1])"


def _names(key: str) -> tuple[str, str]:
    return f"reeve:{{bad}}:{key}", f"kept:{{bad}}:{key}"


def _break(server: RedisServer, key: str) -> bool:
    return server.command("EVAL", _BREAK, "2", *_names(key)) == "1"


def _mend(server: RedisServer, key: str) -> None:
    server.command("EVAL", _MEND, "2", *_names(key))


def damaged(stage: Stage, tasks: int) -> None:
    """One key after the other of one queue is broken and mended under load."""
    server = stage.redis()
    journal, acks = stage.path("journal"), [stage.path(f"acks-{queue}") for queue in QUEUES]
    worker = stage.worker(
        url=server.url, queues=",".join(QUEUES), concurrency=8, work_max_us=500, journal=journal
    ).ready()
    producers = [
        stage.start(
            "e2e_producer",
            url=server.url,
            queues=queue,
            count=tasks,
            batch=5,
            label=queue,
            acks=path,
            gap_max_us=4000,
        )
        for queue, path in zip(QUEUES, acks, strict=True)
    ]
    breaks = 0
    while producers[0].process.poll() is None:
        key = random.choice(KEYS)
        if _break(server, key):
            breaks += 1
            time.sleep(random.uniform(0.02, 0.2))
            _mend(server, key)
        time.sleep(random.uniform(0.01, 0.1))
    refused = sum(producer.report()["given_up"] for producer in producers if not producer.wait())
    stage.wait_empty(server.url)
    stats = worker.stop()
    runs = stage.journal(journal)
    ids = [name for path in acks for name in stage.acks(path)]
    strangers = {run.id for run in runs.starts} - set(ids)
    stage.check(
        "redis: a queue that is broken and mended under load loses nothing",
        not runs.lost(ids) and not strangers and runs.repeated_ends() == 0,
        acked=len(ids),
        refused=refused,
        lost=len(runs.lost(ids)),
        strangers=len(strangers),
        repeated_runs=runs.repeated_ends(),
        breaks=breaks,
        leases_lost=stats["lease_lost"],
    )
    _check_neighbours(stage, server, tasks)
    server.kill()


def _check_neighbours(stage: Stage, server: RedisServer, tasks: int) -> None:
    """As long as nobody mends it, the others go on: how fast, against without damage."""
    seconds = []
    for broken in (False, True):
        stage.produce(url=server.url, queues="bad", count=1, label=f"one-{broken}")
        if broken:
            _break(server, "pending")
        done = stage.queues(server.url)["one"]["done"] + tasks * 10
        stage.produce(url=server.url, queues="one", count=tasks * 10, batch=500, label=f"n{broken}")
        worker = stage.worker(
            url=server.url, queues="bad,one", concurrency=8, journal=stage.path(f"journal-{broken}")
        )
        worker.ready()
        start = time.monotonic()
        stage.wait_done(server.url, "one", done)
        seconds.append(time.monotonic() - start)
        worker.stop()
    _mend(server, "pending")
    stage.check(
        "redis: a broken queue does not slow its neighbours to less than a half",
        seconds[1] <= 2 * seconds[0] + 0.5,
        tasks=tasks * 10,
        without_s=round(seconds[0], 2),
        with_s=round(seconds[1], 2),
    )
