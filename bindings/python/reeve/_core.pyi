"""The extension module: glue over libreeve. The package is its only user."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypedDict, final, overload

#: None and bytes: done, with this result; else kind, result, delay_ms, error type, message, trace
_Outcome: TypeAlias = (
    bytes | tuple[int, bytes | None, int, bytes | None, bytes | None, bytes | None] | None
)

__version__: str

NEVER: int
PRIORITY_LOWEST: int
PRIORITY_DEFAULT: int
BATCH_COUNT_MAX: int
NAME_BYTES_MAX: int
PAYLOAD_BYTES_MAX: int
DELAYS_COUNT_MAX: int
OUTCOME_DONE: int
OUTCOME_RETRY: int
OUTCOME_FATAL: int
OUTCOME_DISCARD: int
OUTCOME_SNOOZE: int
OUTCOME_REQUEUE: int
CANCEL_NONE: int
CANCEL_TIMEOUT: int
CANCEL_DEADLINE: int
CANCEL_LEASE_LOST: int
CANCEL_STOP: int
JSON_LONG: int
JSON_EXPONENT: int
JSON_NULL: int
JSON_DEEP: int
JSON_SURROGATE: int
JSON_DEPTH_MAX: int
ACTION_RUN: int
ACTION_ARCHIVE: int
ACTION_DELETE: int

def check_url(url: str, /) -> None: ...
def code_slug(code: int, /) -> str: ...
def json_traits(data: bytes, /) -> int: ...
def code_text(code: int, /) -> str: ...

class QueueRow(TypedDict):
    name: str
    pending: int
    active: int
    scheduled: int
    retry: int
    completed: int
    archived: int
    done_total: int
    failed_total: int
    latency_ms: int
    size_bytes: int
    paused: bool
    weight: int
    error: str

class AttemptRow(TypedDict):
    at_ms: int
    attempt: int
    crash: bool
    worker: str
    error_type: str
    error_message: str
    error_trace: str

class TaskRow(TypedDict):
    id: str
    queue: str
    type: str
    payload: bytes
    result: bytes
    reason: str
    state: str
    priority: int
    attempts: int
    max_attempts: int
    crashes: int
    has_result: bool
    enqueued_at_ms: int
    due_at_ms: int
    settled_at_ms: int
    expires_at_ms: int
    token: int
    worker: str
    timeout_ms: int
    deadline_at_ms: int
    lease_ms: int
    retention_ms: int
    max_crashes: int
    headers: list[tuple[str, str]]
    history: list[AttemptRow]

class WorkerRow(TypedDict):
    id: str
    host: str
    pid: int
    started_at_ms: int
    beat_at_ms: int
    concurrency: int
    active: int
    done: int
    failed: int
    quiet: bool
    queues: str

class WorkerStats(TypedDict):
    active: int
    held: int
    claimed: int
    done: int
    retried: int
    archived: int
    requeued: int
    lease_lost: int
    stuck: int
    reclaimed: int
    reconnects: int

@final
class Env:
    def __new__(
        cls,
        *,
        log: Callable[[int, str], object] | None = None,
        log_level: int = 0,
        random_seed: int = 0,
        virtual_now_at_ms: int = 0,
    ) -> Env: ...
    def advance(self, by_ms: int, /) -> None: ...
    def now_at_ms(self) -> int: ...
    def log_fd(self) -> int: ...
    def flush(self) -> None: ...

@final
class Template:
    def __new__(
        cls,
        type: str,
        queue: str | None = None,
        id: str | None = None,
        idempotency_key: str | None = None,
        headers: tuple[tuple[str, str], ...] = (),
        *,
        idempotency_ttl_ms: int = 0,
        delay_ms: int = 0,
        due_at_ms: int = 0,
        timeout_ms: int = 0,
        deadline_at_ms: int = 0,
        expires_ms: int = 0,
        lease_ms: int = 0,
        retention_ms: int = 0,
        priority: int = 0,
        max_crashes: int = 0,
        retry: tuple[int, int, int, int, int, float, int, tuple[int, ...]] | None = None,
    ) -> Template: ...

@final
class Client:
    def __new__(
        cls, url: str, env: Env, *, prefix: str | None = None, timeout_ms: int = 0
    ) -> Client: ...
    def enqueue(self, template: Template, payload: bytes, /) -> tuple[int, str, int, int, int]: ...
    def enqueue_many(self, template: Template, payloads: Sequence[bytes], /) -> list[str]: ...
    def enqueue_batch(
        self, items: Sequence[tuple[Template, bytes]], /
    ) -> list[tuple[int, str, int, int, int]]: ...
    def now_at_ms(self) -> int: ...
    def close(self) -> None: ...

@final
class Delivery:
    @property
    def id(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def task(self) -> Any: ...
    @property
    def queue(self) -> str: ...
    @property
    def payload(self) -> bytes: ...
    @property
    def headers(self) -> list[tuple[str, str]]: ...
    @property
    def attempt(self) -> int: ...
    @property
    def max_attempts(self) -> int: ...
    @property
    def crashes(self) -> int: ...
    @property
    def priority(self) -> int: ...
    @property
    def serial(self) -> int: ...
    @property
    def token(self) -> int: ...
    @property
    def enqueued_at_ms(self) -> int: ...
    @property
    def claimed_at_ms(self) -> int: ...
    @property
    def deadline_at_ms(self) -> int: ...
    @property
    def timeout_ms(self) -> int: ...
    @property
    def cancel_reason(self) -> int: ...

@final
class Worker:
    def __new__(
        cls,
        url: str,
        env: Env,
        queues: tuple[tuple[str, int], ...],
        *,
        prefix: str | None = None,
        id: str | None = None,
        order: int = 0,
        concurrency: int = 0,
        settle_count: int = 0,
        manual: bool = False,
        lease_ms: int = 0,
        ageing_ms: int = 0,
        settle_delay_ms: int = 0,
        grace_ms: int = 0,
        archive_ms: int = 0,
        archive_count: int = 0,
        prefetch: int = 0,
    ) -> Worker: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...
    def quiet(self, quiet: bool, /) -> None: ...
    def join(self, timeout_ms: int, /) -> None: ...
    def step(self) -> int: ...
    def poll(self, max: int, timeout_ms: int, /) -> list[Delivery | tuple[int, int] | None]: ...
    def fd(self) -> int: ...
    def id(self) -> str: ...
    def complete_many(self, items: Sequence[Delivery | tuple[Delivery, _Outcome]], /) -> None: ...
    def serve(
        self, tasks: tuple[tuple[str, object, bool], ...], spawn: Callable[[], bool], /
    ) -> None: ...
    @overload
    def take(self) -> Delivery | None: ...
    @overload
    def take(self, delivery: Delivery, outcome: _Outcome, /) -> Delivery | None: ...
    def close(self) -> None: ...
    def stats(self) -> WorkerStats: ...

@final
class Inspector:
    def __new__(
        cls, url: str, env: Env, *, prefix: str | None = None, timeout_ms: int = 0
    ) -> Inspector: ...
    def queues(self) -> list[QueueRow]: ...
    def tasks(
        self, queue: str, state: str, cursor: int = 0, limit: int = 0, /
    ) -> tuple[list[TaskRow], int]: ...
    def find(self, queue: str, id: str, /) -> TaskRow | None: ...
    def workers(self) -> list[WorkerRow]: ...
    def act(self, queue: str, id: str, action: int, /) -> None: ...
    def act_page(
        self, queue: str, state: str, action: int, cursor: int = 0, /
    ) -> tuple[int, int]: ...
    def edit(self, queue: str, id: str, payload: bytes, /) -> None: ...
    def pause(self, queue: str, paused: bool, /) -> None: ...
    def drop(self, queue: str, /) -> None: ...
    def weight(self, queue: str, weight: int, /) -> None: ...
    def quiet(self, worker: str, quiet: bool, /) -> None: ...
    def reclaim_worker(self, worker: str, /) -> int: ...
    def close(self) -> None: ...
