"""One client in many hands: forked processes and many threads."""

from __future__ import annotations

from proof.stage import Stage


def _run_all(stage: Stage, url: str, count: int) -> tuple[int, int, int]:
    """(lost, repeated, distinct) once count tasks have run."""
    journal = stage.path("journal")
    worker = stage.worker(url=url, concurrency=16, journal=journal).ready()
    stage.wait_empty(url)
    worker.stop()
    runs = stage.journal(journal)
    distinct = len({run.id for run in runs.ends})
    return count - distinct, runs.repeated_ends(), distinct


def forks(stage: Stage, tasks: int) -> None:
    """A client used before a fork, then in the child and in the parent at the same time."""
    if "thread" in stage.sanitizer:  # it takes a child's thread for a rival of its parent's
        stage.check(f"{stage.broker}: forks are not for ThreadSanitizer", True, skipped=1)
        return
    with stage.store() as url:
        acks = stage.path("acks")
        stage.produce(url=url, count=tasks, threads=4, fork=1, ids=0, acks=acks)
        ids = stage.acks(acks)
        lost, repeated, distinct = _run_all(stage, url, 3 * tasks)
        stage.check(
            f"{stage.broker}: one client over a fork, all arrive once",
            lost == repeated == 0 and len(ids) == len(set(ids)) == 3 * tasks == distinct,
            acked=len(ids),
            distinct_ids=len(set(ids)),
            ran=distinct,
            repeated=repeated,
        )


def threads(stage: Stage, tasks: int) -> None:
    """Many threads share one client: their calls are combined."""
    with stage.store() as url:
        server = stage.servers[-1] if stage.broker == "redis" else None
        before = int(server.info("stats")["total_commands_processed"]) if server else 0
        acks = stage.path("acks")
        report = stage.produce(url=url, count=tasks, threads=32, ids=0, acks=acks)
        figures: dict[str, object] = {}
        if server:
            reads = int(server.info("stats")["total_reads_processed"])
            scripts = server.info("commandstats")
            figures["script_calls"] = sum(
                int(value.split("calls=")[1].split(",")[0])
                for name, value in scripts.items()
                if name in ("cmdstat_evalsha", "cmdstat_eval", "cmdstat_fcall")
            )
            figures["reads_by_server"] = reads
            figures["commands"] = int(server.info("stats")["total_commands_processed"]) - before
        ids = stage.acks(acks)
        lost, repeated, distinct = _run_all(stage, url, tasks)
        stage.check(
            f"{stage.broker}: 32 threads share a client, all arrive once",
            lost == repeated == 0 and len(ids) == len(set(ids)) == tasks == distinct,
            acked=len(ids),
            ran=distinct,
            per_second=round(tasks / report["seconds"]),
            **figures,
        )
