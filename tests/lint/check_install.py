"""Installs the build into a scratch folder and uses it as strangers do: by
pkg-config, by find_package, shared and static. Each program must run and print
the project's version. REEVE_BUILD_DIR names the build (default build-dev)."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from source import ROOT

PROGRAM = """
#include <reeve.h>
#include <stdio.h>

int main(void) {
    reeve_env *env = NULL;
    reeve_env_options options = REEVE_ENV_OPTIONS_INIT;
    if (reeve_env_new(&env, &options, NULL) != REEVE_OK)
        return 1;
    reeve_env_free(env);
    puts(reeve_version());
    return 0;
}
"""
PROJECT = """
cmake_minimum_required(VERSION 3.22)
project(stranger C)
find_package(reeve 0.1 REQUIRED COMPONENTS static)
add_executable(shared main.c)
target_link_libraries(shared PRIVATE reeve::reeve)
add_executable(static main.c)
target_link_libraries(static PRIVATE reeve::reeve_static)
"""


class Failed(Exception):
    """A command that failed, with its output."""


def call(*command: str, **env: str) -> str:
    """Output of a command; raises Failed."""
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **env},
    )
    if done.returncode != 0:
        raise Failed(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}")
    return done.stdout


def project_version() -> str:
    text = (ROOT / "CMakeLists.txt").read_text()
    found = re.search(r"VERSION (\d+\.\d+\.\d+)", text)
    if found is None:
        raise Failed("no version in CMakeLists.txt")
    return found[1]


def by_pkg_config(prefix: Path, work: Path) -> str:
    """Builds with pkg-config; gives what the program printed."""
    folder = next(prefix.rglob("reeve.pc")).parent
    path = {"PKG_CONFIG_PATH": str(folder)}
    flags = call("pkg-config", "--cflags", "--libs", "reeve", **path).split()
    program = str(work / "by_pkg_config")
    call("cc", "-std=c11", "-o", program, str(work / "main.c"), *flags)
    return call(program, LD_LIBRARY_PATH=str(folder.parent))


def by_cmake(prefix: Path, work: Path) -> list[str]:
    """Builds with find_package; gives what each program printed."""
    (work / "CMakeLists.txt").write_text(PROJECT)
    build = work / "build"
    call("cmake", "-S", str(work), "-B", str(build), f"-DCMAKE_PREFIX_PATH={prefix}")
    call("cmake", "--build", str(build))
    return [call(str(build / name)) for name in ("shared", "static")]


def main() -> int:
    build = ROOT / os.environ.get("REEVE_BUILD_DIR", "build-dev")
    with tempfile.TemporaryDirectory() as scratch:
        prefix = Path(scratch) / "prefix"
        work = Path(scratch) / "work"
        work.mkdir()
        (work / "main.c").write_text(PROGRAM)
        try:
            want = project_version()
            call("cmake", "--install", str(build), "--prefix", str(prefix))
            printed = [by_pkg_config(prefix, work), *by_cmake(prefix, work)]
        except Failed as failed:
            print(failed)
            return 1
    wrong = [text for text in printed if text.strip() != want]
    for text in wrong:
        print(f"printed {text.strip()!r}, the project is {want}")
    print(f"install: {len(printed)} programs print {want}, {len(wrong)} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
