"""A task that one language enqueues runs in every other, its values unharmed: real processes of C,
Python, Lua 5.4 and LuaJIT on both brokers, each with the values of tests/vectors/values.json."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reeve import App

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent)]

from support.servers import RedisServer  # noqa: E402

ROOT = HERE.parents[1]
BUILD = Path(os.environ.get("REEVE_BUILD_DIR", ROOT / "build-dev")).resolve()
ECHO_C = BUILD / "e2e" / "e2e_echo"
ECHO_LUA = ROOT / "tests" / "lua" / "scripts" / "echo.lua"
VECTORS = json.loads((ROOT / "tests" / "vectors" / "values.json").read_text())
LANGUAGES = ("c", "python", "lua", "luajit")
LUAS = {"lua": ("lua5.4", "5.4"), "luajit": ("luajit", "5.1")}
TASKS = len(LANGUAGES) * (len(VECTORS["values"]) + len(VECTORS["bytes"]))

PYTHON_WORKER = """
import sys
from typing import Any
from reeve import App
app = App(sys.argv[1])

@app.task(name="echo", queue=sys.argv[2], retention="forever")
def echo(value: Any = None) -> Any:
    return value

app.worker(concurrency=2, queues={sys.argv[2]: 1}).run()
"""

pytestmark = pytest.mark.timeout(120)


def lua_command(language: str, url: str, queue: str, what: str) -> tuple[list[str], dict[str, str]]:
    program, version = LUAS[language]
    env = {
        **os.environ,
        "LUA_PATH": f"{ROOT}/lua/?.lua;;",
        "LUA_CPATH": f"{BUILD}/lua/{version}/?.so;;",
        "REEVE_TESTS_DIR": str(ROOT / "tests"),
    }
    return [program, str(ECHO_LUA), url, queue, what], env


def put_python(app: App, queue: str) -> None:
    @app.task(name="echo", queue=queue, retention="forever")
    def echo(value: Any) -> Any:
        raise AssertionError("runs elsewhere")

    for vector in VECTORS["values"]:
        echo.using(id=f"python.{vector['name']}").enqueue(vector["json"])


def put_c(url: str, queue: str, language: str, raw_only: bool) -> None:
    """C enqueues its own tasks, and raw bytes in the name of Python, which sends JSON alone."""
    lines = [f"raw {language}.{v['name']} {v['hex']}" for v in VECTORS["bytes"]]
    for vector in [] if raw_only else VECTORS["values"]:
        text = json.dumps({"value": vector["json"]}, ensure_ascii=False)
        lines.append(f"echo {language}.{vector['name']} {text.encode().hex()}")
    command = [str(ECHO_C), "put", "--url", url, "--queue", queue]
    subprocess.run(command, input="\n".join(lines) + "\n", text=True, check=True)


def put_all(url: str, queue: str) -> None:
    app = App(url)
    put_python(app, queue)
    app.close()
    put_c(url, queue, "python", raw_only=True)
    put_c(url, queue, "c", raw_only=False)
    for language in LUAS:
        command, env = lua_command(language, url, queue, "put")
        subprocess.run(command, env=env, check=True)


def start(language: str, url: str, queue: str) -> subprocess.Popen[bytes]:
    if language == "c":
        return subprocess.Popen([str(ECHO_C), "work", "--url", url, "--queue", queue])
    if language == "python":
        return subprocess.Popen([sys.executable, "-c", PYTHON_WORKER, url, queue])
    command, env = lua_command(language, url, queue, "work")
    return subprocess.Popen(command, env=env)


def run_all(language: str, url: str, queue: str, app: App) -> None:
    """Lets a worker of the language run what is there, then ends it politely."""
    worker = start(language, url, queue)
    end = time.monotonic() + 60
    try:
        while True:
            info = app.inspect.queue(queue)
            # Python's worker has no handler for bytes that are no JSON: those are retried.
            if info.pending + info.active == 0 and info.completed + info.retry == TASKS:
                break
            assert time.monotonic() < end, info
            assert worker.poll() is None, "the worker has ended"
            time.sleep(0.02)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(30) == 0
    finally:
        if worker.poll() is None:
            worker.kill()
            worker.wait()


def same(one: Any, other: Any) -> bool:
    """Equal, and of the same kinds all the way down: True is not 1, [] is not {}."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, (int, float)) and isinstance(other, (int, float)):
        return one == other
    return type(one) is type(other) and one == other


def expected(vector: dict[str, Any], *through: str) -> Any:
    """The value after it went through these languages."""
    return vector["lua51"] if "luajit" in through and "lua51" in vector else vector["json"]


@pytest.fixture(params=["sqlite", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite://{tmp_path}/reeve.db"
        return
    server = RedisServer(tmp_path / "redis").start()
    try:
        yield server.url
    finally:
        server.kill()


@pytest.mark.parametrize("worker", LANGUAGES)
def test_every_value_arrives(worker: str, url: str) -> None:
    queue = f"to-{worker}"
    put_all(url, queue)
    app = App(url)
    run_all(worker, url, queue, app)
    wrong = []
    for producer in LANGUAGES:
        for vector in VECTORS["values"]:
            row = app.inspect.core.find(queue, f"{producer}.{vector['name']}")
            assert row is not None, (producer, vector["name"])
            sent = json.loads(row["payload"])["value"]
            got = json.loads(row["result"]) if row["has_result"] else None
            if worker == "c":
                assert isinstance(got, dict)
                got = got["value"]
            if not same(sent, expected(vector, producer)):
                wrong.append((producer, "sent", vector["name"], sent))
            if not same(got, expected(vector, producer, worker)):
                wrong.append((producer, worker, vector["name"], got))
    assert not wrong
    app.close()


@pytest.mark.parametrize("worker", ["c", "lua", "luajit"])
def test_bytes_arrive(worker: str, url: str) -> None:
    queue = f"to-{worker}"
    put_all(url, queue)
    app = App(url)
    run_all(worker, url, queue, app)
    for producer in LANGUAGES:
        for vector in VECTORS["bytes"]:
            row = app.inspect.core.find(queue, f"{producer}.{vector['name']}")
            assert row is not None, (producer, vector["name"])
            assert row["payload"].hex() == vector["hex"]
            got = row["result"].hex() if worker == "c" else json.loads(row["result"])
            assert got == vector["hex"], (producer, vector["name"])
    app.close()
