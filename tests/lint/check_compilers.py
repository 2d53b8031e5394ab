"""The C of the library and of the bindings, compiled by the build with one compiler, has no
warnings with the other one (gcc, clang) either. Reads the build's compile_commands.json."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from source import ROOT

COMPILERS = ("gcc", "clang")
FOLDERS = ("core/src", "bindings/lua/src")
#: What only the compiler that built the tree knows is no fault of the code.
MORE = ("-fsyntax-only", "-Werror", "-Wno-unknown-warning-option")


def others(build: Path) -> list[str]:
    """The compilers that did not build the tree."""
    cache = (build / "CMakeCache.txt").read_text()
    line = next(line for line in cache.splitlines() if line.startswith("CMAKE_C_COMPILER:"))
    version = subprocess.run(
        [line.partition("=")[2], "--version"], capture_output=True, text=True, check=True
    ).stdout
    used = "clang" if "clang" in version else "gcc"
    return [name for name in COMPILERS if name != used and shutil.which(name)]


def commands(build: Path) -> dict[str, list[str]]:
    """One command a source file, without its compiler and its output."""
    found: dict[str, list[str]] = {}
    for entry in json.loads((build / "compile_commands.json").read_text()):
        path = Path(entry["file"])
        if not any(path.is_relative_to(ROOT / folder) for folder in FOLDERS):
            continue
        words = shlex.split(entry["command"])[1:]
        at = words.index("-o")
        found[str(path)] = words[:at] + words[at + 2 :]
    return found


def complaint(compiler: str, words: list[str], build: Path) -> str:
    run = subprocess.run([compiler, *MORE, *words], cwd=build, capture_output=True, text=True)
    return "" if run.returncode == 0 else run.stderr.strip()


def main() -> int:
    build = Path(os.environ.get("REEVE_BUILD_DIR", "build-dev"))
    build = build if build.is_absolute() else ROOT / build
    sources, compilers = commands(build), others(build)
    if not compilers:
        print(f"no other compiler: tried {', '.join(COMPILERS)}")
        return 1
    problems = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for compiler in compilers:
            found = pool.map(
                lambda words, by=compiler: complaint(by, words, build), sources.values()
            )
            for path, text in zip(sources, found, strict=True):
                if text:
                    problems += 1
                    print(f"{Path(path).relative_to(ROOT)} with {compiler}:\n{text}")
    print(f"compilers: {len(sources)} files with {', '.join(compilers)}, {problems} wrong")
    return 1 if problems or not sources else 0


if __name__ == "__main__":
    sys.exit(main())
