"""A redis-server that is killed and started again, and a network that cuts connections."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

from support.proxy import DOWN, UP, Fault, Proxy
from support.servers import RedisServer

from proof.stage import Program, Stage, spread

TASKS = 2000


def _workers(stage: Stage, url: str, journal: Path, count: int = 3) -> list[Program]:
    workers = [
        stage.worker(
            url=url, concurrency=8, lease_ms=4000, work_max_us=6000, journal=journal, log=1
        )
        for _ in range(count)
    ]
    return [worker.ready() for worker in workers]


def _producer(
    stage: Stage, url: str, label: str, acks: Path, tasks: int = TASKS, timeout_ms: int = 0
) -> Program:
    return stage.start(
        "e2e_producer",
        url=url,
        count=tasks,
        batch=5,
        threads=4,
        label=label,
        acks=acks,
        ids=0,
        idempotent=1,
        retry_ms=60000,
        max_crashes=-1,
        gap_max_us=12000,
        timeout_ms=timeout_ms,
    )


def _stop(workers: list[Program]) -> None:
    for worker in workers:
        worker.send(signal.SIGTERM)
    for worker in workers:
        worker.wait()


def _judge(stage: Stage, name: str, url: str, journal: Path, acks: Path, **figures: object) -> None:
    """Every acknowledged task ran, was settled once, and nobody else did."""
    runs = stage.journal(journal)
    ids = stage.acks(acks)
    strangers = {run.id for run in runs.starts} - set(ids)
    done = stage.queues(url)["default"]["done"]
    stage.check(
        name,
        not runs.lost(ids) and not strangers and len(set(ids)) == len(ids) == done,
        acked=len(ids),
        done=done,
        lost=len(runs.lost(ids)),
        doubles_of_a_key=len(strangers) + len(ids) - len(set(ids)),
        repeated_runs=runs.repeated_ends(),
        **figures,
    )


def crashes(stage: Stage, rounds: int) -> None:
    """SIGKILL of redis-server under load: nothing acknowledged is lost with either AOF mode."""
    for fsync in ("everysec", "always"):
        resumes: list[float] = []
        server = stage.redis(appendonly="yes", appendfsync=fsync)
        journal, acks = stage.path("journal"), stage.path("acks")
        workers = _workers(stage, server.url, journal)
        for number in range(rounds):
            producer = _producer(stage, server.url, f"{fsync}{number}", acks)
            time.sleep(random.uniform(0.05, 0.4))
            resumes.append(_crash(stage, server, journal))
            if producer.wait():
                raise RuntimeError(producer.errors()[-500:])
            stage.progress(f"{fsync}: round {number + 1} of {rounds}")
        stage.wait_empty(server.url)
        _stop(workers)
        _judge(
            stage,
            f"redis, AOF {fsync}: killed under load",
            server.url,
            journal,
            acks,
            rounds=rounds,
            resume_ms=spread([value * 1000 for value in resumes], 1),
        )
        stage.check(
            f"redis, AOF {fsync}: workers resume within 1 s of its return",
            max(resumes) <= 1.0,
            max_s=round(max(resumes), 3),
        )
        server.kill()


def _crash(stage: Stage, server: RedisServer, journal: Path) -> float:
    """Kills and restarts; seconds from its first answer to the first run after."""
    server.kill()
    time.sleep(random.uniform(0.05, 0.8))
    before = stage.count(journal)
    server.start()
    back_ns = time.monotonic_ns()
    stage.wait_runs(journal, before + 1)
    first_ns = stage.journal(journal).starts[before].mono_ns
    return max(0.0, (first_ns - back_ns) / 1e9)


def idle(stage: Stage, rounds: int) -> None:
    """Killed while nobody works: the next task starts at once."""
    server = stage.redis(appendonly="yes", appendfsync="everysec")
    journal, acks = stage.path("journal"), stage.path("acks")
    workers = _workers(stage, server.url, journal, 1)
    waits = []
    for number in range(rounds):
        server.kill()
        time.sleep(random.uniform(0.05, 1.5))
        server.start()
        back_ns = time.monotonic_ns()
        stage.produce(url=server.url, label=f"i{number}", acks=acks)
        stage.wait_runs(journal, number + 1, what="E")
        waits.append((stage.journal(journal).starts[-1].mono_ns - back_ns) / 1e9)
    _stop(workers)
    lost = stage.journal(journal).lost(stage.acks(acks))
    stage.check(
        "redis: killed while idle, a task runs within 1 s of its return",
        max(waits) <= 1.0 and not lost,
        rounds=rounds,
        lost=len(lost),
        wait_ms=spread([value * 1000 for value in waits], 1),
    )
    server.kill()


def _lot(rng: random.Random, kinds: list[str]) -> Fault:
    """What happens to the next connection: most are hurt, some sooner, some later."""
    most = rng.choice([200, 2000, 20000, 100000])
    way = rng.choice([DOWN, DOWN, UP])
    return Fault(rng.choice(kinds), way, rng.randrange(1, most), piece_bytes=rng.randint(1, 64))


def cuts(stage: Stage, rounds: int) -> None:
    """Connections cut after random bytes, half closed, slow: no loss, no double, no hang."""
    server = stage.redis()
    rng = random.Random()
    hurts = ["cut", "cut", "half-close", "slow", "none"]
    journal, acks = stage.path("journal"), stage.path("acks")
    slowest = retries = 0.0
    with Proxy(server.port) as proxy, Proxy(server.port) as theirs:
        workers = _workers(stage, theirs.url, journal)
        theirs.choose = lambda: _lot(rng, hurts)
        for number in range(rounds):
            proxy.choose = Fault
            before = stage.count(acks, "A")
            producer = _producer(stage, proxy.url, f"c{number}", acks, TASKS // 2)
            stage.wait_runs(acks, before + 1, what="A")
            proxy.choose = lambda: _lot(rng, hurts)
            while producer.process.poll() is None:
                proxy.drop_all()
                theirs.drop_all()
                time.sleep(rng.uniform(0.1, 0.5))
            if producer.wait():
                raise RuntimeError(producer.errors()[-500:])
            slowest = max(slowest, producer.report()["slowest_ms"])
            retries += producer.report()["retries"]
            stage.progress(f"round {number + 1} of {rounds}: {proxy.fired} faults")
        theirs.choose = Fault
        theirs.drop_all()
        stage.wait_empty(server.url)
        _stop(workers)
    _judge(
        stage,
        "redis: connections cut, half closed and slow",
        server.url,
        journal,
        acks,
        rounds=rounds,
        connections=proxy.accepted + theirs.accepted,
        faults=proxy.fired + theirs.fired,
        calls_asked_again=int(retries),
        slowest_call_ms=round(slowest, 1),
    )
    server.kill()


def keys(stage: Stage, tasks: int) -> None:
    """Replies swallowed beyond the call's deadline: the caller asks again by its idempotency key
    and the server, which has stored the task, does not store it twice."""
    server = stage.redis()
    journal, acks = stage.path("journal"), stage.path("acks")
    with Proxy(server.port) as proxy:
        stage.produce(url=proxy.url, label="first", acks=acks, ids=0)
        handshake = proxy.passed[DOWN]
        # Past the handshake, within the next few replies.
        proxy.choose = lambda: Fault("stall", DOWN, handshake + random.randrange(600))
        program = stage.start(
            "e2e_producer",
            url=proxy.url,
            count=tasks,
            threads=2,
            acks=acks,
            ids=0,
            idempotent=1,
            timeout_ms=100,
            retry_ms=60000,
        )
        if program.wait():
            raise RuntimeError(program.errors()[-500:])
    worker = stage.worker(url=server.url, journal=journal).ready()
    stage.wait_empty(server.url)
    worker.stop()
    report = program.report()
    _judge(
        stage,
        "redis: calls asked again by their key",
        server.url,
        journal,
        acks,
        asked_again=report["retries"],
        existing=report["existing"],
    )
    stage.check(
        "redis: some of them had been stored",
        report["existing"] > 0,
        existing=report["existing"],
        slowest_call_ms=report["slowest_ms"],
    )
    server.kill()


def outage(stage: Stage, rounds: int) -> None:
    """Longer than a call's deadline and shorter than a lease: outcomes are kept and stored when
    the server is back, so nothing is repeated."""
    server = stage.redis(appendonly="yes")
    journal, acks = stage.path("journal"), stage.path("acks")
    workers = [
        stage.worker(url=server.url, concurrency=8, work_max_us=6000, journal=journal).ready()
        for _ in range(3)
    ]
    for number in range(rounds):
        producer = _producer(stage, server.url, f"o{number}", acks)
        time.sleep(0.2)
        server.kill()
        time.sleep(6.5)
        server.start()
        if producer.wait():
            raise RuntimeError(producer.errors()[-500:])
    stage.wait_empty(server.url)
    _stop(workers)
    runs = stage.journal(journal)
    _judge(stage, "redis: away for 6.5 s under load", server.url, journal, acks, rounds=rounds)
    stage.check(
        "redis: an outage within the lease repeats none",
        runs.repeated_starts() == 0,
        repeated=runs.repeated_starts(),
    )
    server.kill()


def stalls(stage: Stage, rounds: int) -> None:
    """A connection that swallows everything: calls end at their deadline, others go on."""
    server = stage.redis()
    waits = []
    with Proxy(server.port) as proxy:
        for number in range(rounds):
            # Not before the handshake is over, else opening would be what times out.
            proxy.choose = lambda: Fault("stall", DOWN, random.randrange(20, 3000))
            start = time.monotonic()
            program = stage.start(
                "e2e_producer", url=proxy.url, count=50, label=f"s{number}", timeout_ms=700
            )
            program.wait(60)
            text = program.errors()
            waits.append(time.monotonic() - start)
            if "timeout" not in text and "network" not in text and program.process.returncode:
                raise RuntimeError(text[-500:])
    calls = 51
    stage.check(
        "redis: a stalled connection ends each call at its deadline",
        max(waits) <= calls * 0.9,
        rounds=rounds,
        timeout_ms=700,
        max_s=round(max(waits), 2),
    )
    server.kill()


def down(stage: Stage, rounds: int) -> None:
    """SIGTERM while the server is away: the worker leaves, its tasks run later."""
    waits = []
    for _ in range(rounds):
        server = stage.redis(appendonly="yes")
        journal, acks = stage.path("journal"), stage.path("acks")
        queues = ",".join(f"q{number}" for number in range(8))
        options = {"url": server.url, "queues": queues, "lease_ms": 2000, "journal": journal}
        worker = stage.worker(None, concurrency=8, work_us=300000, **options).ready()
        stage.produce(url=server.url, queues=queues, count=8, acks=acks, max_crashes=-1)
        stage.wait_runs(journal, 8)
        server.kill()
        start = time.monotonic()
        worker.send(signal.SIGTERM)
        worker.wait()
        waits.append(time.monotonic() - start)
        server.start()
        heir = stage.worker(None, **options).ready()
        stage.wait_empty(server.url)
        heir.stop()
        lost = stage.journal(journal).lost(stage.acks(acks))
        server.kill()
    stage.check(
        "redis: a worker stops while its server is away",
        # One call of 5 s in each thread, and 5 s for the last outcomes.
        max(waits) <= 17 and not lost,
        rounds=rounds,
        lost=len(lost),
        max_s=round(max(waits), 1),
    )


def full(stage: Stage, tasks: int) -> None:
    """A server without memory refuses new tasks; workers still empty it."""
    server = stage.redis(maxmemory="10mb", maxmemory_policy="noeviction")
    journal, acks = stage.path("journal"), stage.path("acks")
    producer = stage.start(
        "e2e_producer", url=server.url, count=tasks, batch=20, payload_bytes=1000, acks=acks
    )
    producer.wait()
    refused = producer.report()["given_up"]
    worker = stage.worker(url=server.url, journal=journal).ready()
    stage.wait_empty(server.url)
    worker.stop()
    stage.produce(url=server.url, label="after")
    runs, ids = stage.journal(journal), stage.acks(acks)
    stage.check(
        "redis: a full server refuses, is emptied, takes tasks again",
        refused > 0 and not runs.lost(ids) and runs.repeated_ends() == 0,
        acked=len(ids),
        refused=refused,
        lost=len(runs.lost(ids)),
        said=repr(producer.errors().splitlines()[0][:110]),
    )
    server.kill()


def flushed(stage: Stage, tasks: int) -> None:
    """SCRIPT FLUSH under load: scripts are loaded again, nobody notices."""
    server = stage.redis()
    journal, acks = stage.path("journal"), stage.path("acks")
    workers = _workers(stage, server.url, journal)
    producer = _producer(stage, server.url, "f", acks, tasks)
    flushes = 0
    while producer.process.poll() is None:
        server.command("SCRIPT", "FLUSH")
        flushes += 1
        time.sleep(0.01)
    stage.wait_empty(server.url)
    _stop(workers)
    _judge(stage, "redis: scripts flushed under load", server.url, journal, acks, flushes=flushes)
    server.kill()
