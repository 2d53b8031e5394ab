"""What a type checker must see; read by test_typing.py, never run.

A line that ends with an ``expect`` comment must be reported by mypy with that text; every other
line must be clean, and ``reveal_type`` shows what the ``reveal`` comment beside it says.
"""

from __future__ import annotations

from typing import reveal_type

from reeve import App, AsyncTask, Context, Job, JobInfo, Retry, Task, current
from reeve.testing import harness

app = App("mem://typing")


@app.task
def join(a: int, *, b: str = "") -> str:
    return f"{a}{b}"


@app.task(queue="mail", retry=Retry(max_attempts=3), timeout="30s", retention="1h")
async def load(url: str) -> bytes:
    return url.encode()


@app.task
def with_context(ctx: Context, n: int) -> float:
    reveal_type(ctx.attempt)  # reveal: int
    return n / ctx.attempt


@app.task(priority=3)
async def async_with_context(ctx: Context, n: int) -> list[int]:
    return [n]


@app.task
def nothing() -> None: ...


reveal_type(join)  # reveal: reeve._task.Task[[a: int, *, b: str =], str]
reveal_type(load)  # reveal: reeve._task.AsyncTask[[url: str], bytes]
reveal_type(with_context)  # reveal: reeve._task.Task[[n: int], float]
reveal_type(async_with_context)  # reveal: reeve._task.AsyncTask[[n: int], list[int]]
reveal_type(join(1))  # reveal: str
reveal_type(with_context(1))  # reveal: float
reveal_type(join.enqueue(1, b="x"))  # reveal: reeve._job.Job[str]
reveal_type(join.delay(1))  # reveal: reeve._job.Job[str]
reveal_type(load.enqueue("x").result())  # reveal: bytes
reveal_type(nothing.enqueue().result())  # reveal: None
reveal_type(join.using(delay="10m").enqueue(1))  # reveal: reeve._job.Job[str]
reveal_type(join.enqueue_many([(1,), {"a": 1}]))  # reveal: list[reeve._job.Job[str]]
reveal_type(join.enqueue(1).info())  # reveal: reeve._job.JobInfo
reveal_type(current())  # reveal: reeve._context.Context


async def use() -> None:
    reveal_type(await load("x"))  # reveal: bytes
    reveal_type(await load.aenqueue("x"))  # reveal: reeve._job.Job[bytes]
    reveal_type(await (await load.aenqueue("x")).aresult())  # reveal: bytes
    reveal_type(await async_with_context(1))  # reveal: list[int]


join.enqueue("1")  # expect: incompatible type "str"; expected "int"
join.enqueue()  # expect: Missing positional argument
join.enqueue(1, c=2)  # expect: Unexpected keyword argument "c"
join(None)  # expect: incompatible type "None"; expected "int"
with_context.enqueue(current(), 1)  # expect: Too many arguments
join.using(dealy=5)  # expect: Unexpected keyword argument "dealy"
join.using(priority="high")  # expect: incompatible type "str"; expected "int"
app.task(quue="x")  # expect: quue
Retry(backoff="cubic")  # expect: incompatible type


def takes_any_result(job: Job[object]) -> None: ...


takes_any_result(join.enqueue(1))  # results are covariant


def takes_task(task: Task[[int], float], other: AsyncTask[[str], bytes]) -> None: ...


takes_task(with_context, load)


def look(h_app: App) -> list[JobInfo]:
    with harness(h_app) as h:
        reveal_type(h.run_until_idle())  # reveal: int
        return h.jobs()
