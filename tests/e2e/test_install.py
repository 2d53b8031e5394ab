"""The C examples, built against the installed library as a stranger would: by pkg-config and by
find_package, with each compiler there is, and run on an SQLite file."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "docs" / "examples" / "c"
PROGRAMS = ("producer", "worker", "poll_worker")
COMPILERS = [name for name in ("gcc", "clang") if shutil.which(name)]
CXX_COMPILERS = [name for name in ("g++", "clang++") if shutil.which(name)]

# a build of the library may be needed first
pytestmark = pytest.mark.timeout(900)

CXX_PROGRAM = """
#include <reeve.h>
#include <reeve/sys/job.h>
#include <reeve/sys/protocol.h>
#include <iostream>

template <typename T> static bool sized(const T &value) {
    return value.size == sizeof(T);
}

int main() {
    if (!(SIZED))
        return 2;
    reeve_env *env = nullptr;
    reeve_env_options options = REEVE_ENV_OPTIONS_INIT;
    reeve_enqueue_args args = REEVE_ENQUEUE_ARGS_INIT;
    args.type = reeve_bytes_of("email:send");
    reeve_client_options where = REEVE_CLIENT_OPTIONS_INIT;
    where.url = "mem://cxx";
    reeve_client *client = nullptr;
    reeve_error err = {};
    if (reeve_env_new(&env, &options, &err) || reeve_client_open(&client, env, &where, &err) ||
        reeve_client_enqueue(nullptr, client, &args, &err)) {
        std::cerr << err.message << std::endl;
        return 1;
    }
    reeve_client_close(client);
    reeve_env_free(env);
    std::cout << reeve_version() << std::endl;
}
"""
LUA_SCRIPT = """
local reeve = require "reeve"
print(reeve.in_worker)
local app = assert(reeve.new { url = "mem://idle" })
app:task("t", function() end)
app:run { on_start = function() os.execute "kill -TERM $PPID" end }
"""
CMAKE_VERSION_PROJECT = """
cmake_minimum_required(VERSION 3.22)
project(stranger C)
find_package(reeve REQUIRED)
message(STATUS "found version <${reeve_VERSION}>")
"""


def call(*command: str | Path, cwd: Path | None = None, **env: str) -> str:
    """Output of a command; a failure shows it."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}"
    return done.stdout


@pytest.fixture(scope="session")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the library is installed."""
    build = ROOT / os.environ.get("REEVE_BUILD_DIR", "build-dev")
    if not (build / "CMakeCache.txt").exists():
        build = tmp_path_factory.mktemp("build")
        call("cmake", "-S", ROOT, "-B", build, "-DREEVE_TESTS=OFF", "-DREEVE_WERROR=OFF")
    call("cmake", "--build", build, "-j", str(os.cpu_count() or 1))
    target = tmp_path_factory.mktemp("installed") / "prefix"
    call("cmake", "--install", build, "--prefix", target)
    return target


@pytest.fixture(scope="session")
def pc_path(prefix: Path) -> Path:
    """The folder of reeve.pc."""
    return next(prefix.rglob("reeve.pc")).parent


@pytest.fixture(scope="session", params=[(h, c) for h in ("make", "cmake") for c in COMPILERS])
def programs(
    request: pytest.FixtureRequest,
    prefix: Path,
    pc_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A folder with the examples, built in one of the ways."""
    how, compiler = request.param
    out = tmp_path_factory.mktemp(f"{how}-{compiler}")
    if how == "make":
        flags = "CFLAGS=-O1 -Wall -Wextra -Werror"
        command = ["make", "-C", EXAMPLES, f"OUT={out}", f"CC={compiler}", flags]
        call(*command, PKG_CONFIG_PATH=str(pc_path))
    else:
        found = f"-DCMAKE_PREFIX_PATH={prefix}"
        strict = "-DCMAKE_C_FLAGS=-Wall -Wextra -Werror"
        call("cmake", "-S", EXAMPLES, "-B", out, found, strict, f"-DCMAKE_C_COMPILER={compiler}")
        call("cmake", "--build", out)
    assert all((out / name).exists() for name in PROGRAMS)
    return out


@contextmanager
def running(*command: str | Path) -> Iterator[subprocess.Popen[str]]:
    """A worker that has said "started"; ended in any case."""
    process = subprocess.Popen(
        [str(word) for word in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        bufsize=1,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        yield process
    finally:
        process.kill()
        process.wait()


def take(process: subprocess.Popen[str], want: Counter[str]) -> Counter[str]:
    """Reads lines until each of want has come as often; gives the first words' counts."""
    seen: Counter[str] = Counter()
    assert process.stdout is not None
    while not seen >= want:
        line = process.stdout.readline()
        assert line, f"the worker ended, having said {seen}, {want - seen} is missing"
        seen[line.split()[0]] += 1
        if line == "report:build is built\n":
            seen["built"] += 1
    return seen


def stop(process: subprocess.Popen[str]) -> str:
    """SIGTERM; gives what the worker says on its way out."""
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate()
    assert process.returncode == 0, output
    return output


def kept_errors(database: Path) -> list[list[str]]:
    """Messages in the histories of the tasks that are still stored."""
    with sqlite3.connect(database) as connection:
        rows = connection.execute("SELECT envelope FROM tasks").fetchall()
    connection.close()
    lines = [json.loads(envelope.partition(b"\n")[0]) for (envelope,) in rows]
    return [[end["message"] for end in line["history"]] for line in lines]


def test_producer_and_worker(programs: Path, tmp_path: Path) -> None:
    url = f"sqlite://{tmp_path}/queue.db"
    first = call(programs / "producer", url, "20")
    assert "count:one 20 enqueued, 0 ids were taken" in first
    assert re.search(r"email:send \S+ enqueued", first)
    again = call(programs / "producer", url, "25")
    assert "count:one 5 enqueued, 20 ids were taken" in again
    assert re.search(r"email:send \S+ was there already", again)

    flags = ["--queues", "mail=6,default=3", "--concurrency", "4"]
    with running(programs / "worker", "--url", url, *flags) as worker:
        want = Counter({"email:send": 1, "count:one": 25, "partner:call": 6, "built": 2})
        seen = take(worker, want)
        last = stop(worker)
    assert {k: seen[k] for k in want} == dict(want)
    # 1 mail, 25 counts, 2 calls and 2 reports
    assert last.endswith("done 30\n")
    assert kept_errors(tmp_path / "queue.db") == [["partner says 503"] * 2] * 2


def test_poll_worker(programs: Path, tmp_path: Path) -> None:
    url = f"sqlite://{tmp_path}/queue.db"
    call(programs / "producer", url, "100")
    with running(programs / "poll_worker", url) as worker:
        want = Counter({"count:one": 100, "partner:call": 1, "report:build": 1})
        assert take(worker, want) == want
        stop(worker)
    with running(programs / "poll_worker", url, "mail") as worker:
        assert take(worker, Counter({"email:send": 1})) == {"email:send": 1}
        stop(worker)


def test_worker_finishes_on_signal(programs: Path, tmp_path: Path) -> None:
    """An idle worker ends by itself on SIGINT and says so."""
    with running(programs / "worker", "--url", f"sqlite://{tmp_path}/queue.db") as worker:
        worker.send_signal(signal.SIGINT)
        output, _ = worker.communicate()
        assert worker.returncode == 0
        assert output == "done 0\n"


def test_pkg_config_asks_for_nothing_else(prefix: Path, pc_path: Path) -> None:
    """The dependencies' development files may be missing."""
    alone = {"PKG_CONFIG_LIBDIR": str(pc_path), "PKG_CONFIG_PATH": ""}
    flags = call("pkg-config", "--cflags", "reeve", **alone).split()
    assert [Path(flag.removeprefix("-I")).resolve() for flag in flags] == [prefix / "include"]
    assert call("pkg-config", "--libs", "reeve", **alone).split()[1:] == ["-lreeve"]


def test_pkg_config_names_what_the_static_library_needs(
    prefix: Path, pc_path: Path, tmp_path: Path
) -> None:
    words = ["pkg-config", "--static", "--cflags", "--libs", "reeve"]
    text = call(*words, PKG_CONFIG_PATH=str(pc_path))
    flags = text.replace("-lreeve", "-l:libreeve.a").split()
    source, program = EXAMPLES / "producer.c", tmp_path / "producer"
    call("cc", "-D_POSIX_C_SOURCE=200809L", "-o", program, source, *flags)
    assert "libreeve" not in call("ldd", program)
    assert "count:one 2 enqueued" in call(program, f"sqlite://{tmp_path}/queue.db", "2")


@pytest.mark.parametrize("words", [["--bogus"], ["--bogus", "1"], ["--help"]], ids=" ".join)
def test_unknown_options_print_the_usage(programs: Path, words: list[str]) -> None:
    for name in PROGRAMS:
        done = subprocess.run([programs / name, *words], capture_output=True, text=True)
        assert done.returncode == 2
        assert done.stderr.startswith(f"usage: {name} ")


def test_bad_url_is_named(programs: Path) -> None:
    done = subprocess.run([programs / "producer", "ftp://x"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "invalid: unknown broker scheme ftp://" in done.stderr


@pytest.mark.parametrize("interpreter", ["lua5.4", "luajit"])
def test_the_lua_launcher_finds_its_modules(interpreter: str, prefix: Path, tmp_path: Path) -> None:
    """Whatever the prefix is, without LUA_PATH; so do the states of its worker."""
    launcher = prefix / "bin" / "reeve-lua"
    if not launcher.exists():
        pytest.skip("a build without Lua")
    env = {name: text for name, text in os.environ.items() if not name.startswith("LUA_")}
    (tmp_path / "idle.lua").write_text(LUA_SCRIPT)
    command = [interpreter, launcher, "worker", "idle.lua", "--concurrency", "1"]
    done = subprocess.run(
        command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "false\ntrue\n"


def sized_types(prefix: Path) -> list[str]:
    """Types of the installed headers that have an INIT macro."""
    text = "".join(path.read_text() for path in (prefix / "include").rglob("*.h"))
    return [name.lower() for name in re.findall(r"^#define (REEVE_\w+)_INIT\b", text, re.M)]


@pytest.mark.parametrize("compiler", CXX_COMPILERS)
def test_cxx(compiler: str, prefix: Path, pc_path: Path, tmp_path: Path) -> None:
    """A C++ program, and the versions that the library and its packages name."""
    types = sized_types(prefix)
    assert len(types) > 9
    all_sized = " && ".join(f"sized<{t}>({t.upper()}_INIT)" for t in types)
    (tmp_path / "main.cc").write_text(CXX_PROGRAM.replace("SIZED", all_sized))
    env = {"PKG_CONFIG_PATH": str(pc_path)}
    flags = call("pkg-config", "--cflags", "--libs", "reeve", **env).split()
    strict = ["-std=c++17", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    call(compiler, *strict, "-o", tmp_path / "main", tmp_path / "main.cc", *flags)
    said = call(tmp_path / "main", LD_LIBRARY_PATH=str(pc_path.parent)).strip()

    assert call("pkg-config", "--modversion", "reeve", **env).strip() == said
    (tmp_path / "CMakeLists.txt").write_text(CMAKE_VERSION_PROJECT)
    configure = ["cmake", "-S", tmp_path, "-B", tmp_path / "b", f"-DCMAKE_PREFIX_PATH={prefix}"]
    assert f"found version <{said}>" in call(*configure)
    project = re.search(r"VERSION (\d+\.\d+\.\d+)", (ROOT / "CMakeLists.txt").read_text())
    assert project is not None
    assert project[1] == said
