"""The rockspec builds for Lua 5.4 and for 5.1 from a copy of the sources, without a network, and
what it installs works in a folder of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROCKSPEC = "lua/reeve-0.1.0-1.rockspec"
PARTS = ("CMakeLists.txt", "bin", "bindings/lua", "core", "lua")
INTERPRETERS = {"5.4": ["lua5.4"], "5.1": ["luajit"]}
SMOKE = """
local reeve = require "reeve"
local app = assert(reeve.new { url = "mem://smoke" })
assert(app:enqueue("t", { n = 1 }))
assert(#app:inspector():tasks("default", "pending") == 1)
io.write(reeve.VERSION, " ", _VERSION)
"""

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rock")
    for part in PARTS:
        target = folder / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, target)
        else:
            shutil.copy(ROOT / part, target)
    return folder


@pytest.mark.parametrize("version", sorted(INTERPRETERS))
def test_rock_builds_and_works(source: Path, version: str) -> None:
    tree = source / f"tree-{version}"
    command = ["luarocks", "--lua-version", version, "make", "--tree", str(tree), ROCKSPEC]
    env = {
        **os.environ,
        "http_proxy": "http://127.0.0.1:1",
        "https_proxy": "http://127.0.0.1:1",
        "CMAKE_BUILD_PARALLEL_LEVEL": str(os.cpu_count() or 1),
    }
    done = subprocess.run(command, cwd=source, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    env = {
        **os.environ,
        "LUA_PATH": f"{tree}/share/lua/{version}/?.lua;;",
        "LUA_CPATH": f"{tree}/lib/lua/{version}/?.so;;",
    }
    command = [*INTERPRETERS[version], "-e", SMOKE]
    done = subprocess.run(command, cwd=source, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[0] == "0.1.0"
    assert (tree / "bin" / "reeve-lua").exists()
