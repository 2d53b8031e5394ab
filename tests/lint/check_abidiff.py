"""The binary interface against its last snapshot, core/abi/reeve.abi. Added
functions pass; any changed type, layout or signature fails, also a field that
was appended as the rules allow: judge it, then take a new snapshot with
`make abi`. REEVE_BUILD_DIR names the build (default build-dev).

    check_abidiff.py [--write]
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from source import ROOT, relative

SNAPSHOT = ROOT / "core" / "abi" / "reeve.abi"
HEADERS = ROOT / "core" / "include"


def run(*command: str) -> tuple[int, str]:
    """(exit code, output) of a command."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.returncode, done.stdout


def describe(library: str, out: Path) -> str:
    """Writes what abidw says of the public types, without this machine's
    paths; gives its complaint, "" if none."""
    code, output = run(
        "abidw",
        "--headers-dir",
        str(HEADERS),
        "--drop-private-types",
        "--no-architecture",
        "--no-corpus-path",
        "--no-comp-dir-path",
        "--no-show-locs",
        "--no-elf-needed",
        "--out-file",
        str(out),
        library,
    )
    if code != 0:
        return f"{output}abidw: exit {code}"
    text = out.read_text().replace(f"{ROOT}/", "")
    out.write_text(re.sub(r" path='[^']*/generated/", " path='generated/", text))
    return ""


def write(library: str) -> int:
    """Takes the snapshot."""
    complaint = describe(library, SNAPSHOT)
    print(complaint or f"abidiff: wrote {relative(SNAPSHOT)}")
    return 1 if complaint else 0


def compare(library: str) -> int:
    """0 when everything in the snapshot is still so. Both sides are
    descriptions: against a library abidiff would see private types."""
    if not SNAPSHOT.exists():
        print(f"{relative(SNAPSHOT)} is missing; `make abi` writes it")
        return 1
    with tempfile.TemporaryDirectory() as scratch:
        current = Path(scratch) / "current.abi"
        complaint = describe(library, current)
        if complaint:
            print(complaint)
            return 1
        code, output = run("abidiff", "--no-added-syms", str(SNAPSHOT), str(current))
    if code != 0:
        print(output)
    print(f"abidiff: {'changed since' if code else 'the same as'} {relative(SNAPSHOT)}")
    return 1 if code else 0


def main() -> int:
    build = ROOT / os.environ.get("REEVE_BUILD_DIR", "build-dev")
    library = build / "libreeve.so"
    if not library.exists():
        print(f"{library} is missing; run `make build` first")
        return 1
    return write(str(library)) if "--write" in sys.argv[1:] else compare(str(library))


if __name__ == "__main__":
    sys.exit(main())
