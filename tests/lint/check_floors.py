"""The floors: who may include whom. Exits 1 and names each line that breaks
the table of the architecture; prints how many includes were read."""

from __future__ import annotations

import re
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from source import ROOT, code_only, files, includes, relative

_LIBC_NAMES = """
    assert ctype errno fcntl float inttypes limits locale math netdb poll
    pthread pwd sched setjmp signal stdalign stdarg stdatomic stdbool stddef
    stdint stdio stdlib string strings time unistd arpa/inet net/if netinet/in netinet/tcp
    sys/epoll sys/eventfd sys/file sys/ioctl sys/mman sys/prctl sys/random
    sys/resource sys/select sys/socket sys/stat sys/syscall sys/time sys/types
    sys/uio sys/un sys/utsname sys/wait
"""
LIBC = set(_LIBC_NAMES.split())
# What a public header is about; floors below `task` know none of the rest.
PLAIN_PUBLIC = {"reeve/base.h", "reeve/env.h", "reeve/error.h"}


@dataclass(frozen=True)
class Floor:
    """What the files below core/src/<name> may include besides libc."""

    name: str  # folder or file, below core/src
    internal: frozenset[str]  # folders or files below core/src
    libraries: frozenset[str] = frozenset()
    tasks: bool = True  # may include the public headers about tasks
    forbidden: str | None = None  # calls that this floor must not make
    why: str = ""


def _floor(name: str, internal: str, libraries: str = "", **rest: object) -> Floor:
    return Floor(
        name,
        frozenset(internal.split()),
        frozenset(libraries.split()),
        **rest,  # type: ignore[arg-type]
    )


CLOCK = r"\b(?:reeve__(?:now_at_ms|mono_ns|by_ns)|clock_gettime|time)\s*\("
CHANCE = r"|\b(?:reeve__random(?:_below)?|rand|random|getrandom)\s*\("
LOCKS = r"|\b(?:reeve__(?:lock|wait)|pthread_\w+)\s*\("
INPUT = r"|\b(?:open|fopen|read|write|poll|socket|send|recv|connect)\s*\("

# The most specific name wins. A floor always sees itself.
FLOORS = [
    _floor("base", "base", tasks=False),
    _floor(
        "task",
        "base task",
        forbidden=CLOCK + INPUT,
        why="task does no I/O and reads no clock",
    ),
    _floor("task/json", "base task", "cjson"),
    _floor(
        "policy",
        "base policy",
        forbidden=CLOCK + CHANCE + LOCKS + INPUT,
        why="policy takes time and chance as arguments",
    ),
    _floor("wire", "base wire", "openssl", tasks=False),
    _floor("broker", "base task broker"),
    # One URL grammar for all brokers, read where a broker is chosen.
    _floor("broker/open.c", "base task broker wire/url.h"),
    _floor("broker/redis", "base task broker wire scripts_gen.h"),
    _floor("broker/sqlite", "base task broker", "sqlite"),
    _floor("broker/mem", "base task broker"),
    _floor("client", "base task policy client broker/broker.h"),
    # The operator's face shares the client's connection and the worker's rules
    # for settling on somebody's behalf; neither neighbour knows it.
    _floor(
        "inspect",
        "base task policy inspect broker/broker.h client/shared.h"
        " runtime/settlement.h runtime/takeover.h",
    ),
    _floor("runtime", "base task policy runtime broker/broker.h"),
]
CONCRETE_BROKERS = ("broker/redis", "broker/sqlite", "broker/mem")
LIBRARIES = {
    "cjson": re.compile(r"^(?:cjson/)?cJSON(?:_Utils)?\.h$"),
    "hiredis": re.compile(r"^(?:hiredis/.*|hiredis\w*\.h|sds\.h|async\.h)$"),
    "openssl": re.compile(r"^openssl/"),
    "sqlite": re.compile(r"^sqlite3(?:ext)?\.h$"),
}
BINDING_HEADERS = re.compile(
    r"^(?:Python|structmember|lua|lauxlib|lualib|luajit|lua5\.\d/\w+)(?:\.h)?$"
)


@dataclass
class Report:
    """Violations, and what was looked at."""

    problems: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    hiredis: set[str] = field(default_factory=set)


def floor_of(path: str) -> Floor | None:
    """The floor of a file named relative to core/src."""
    best = None
    for floor in FLOORS:
        inside = path == floor.name or path.startswith(floor.name + "/")
        # "task/json" also names task/json.c, task/json_reader.h …
        inside = inside or (floor.name == "task/json" and path.startswith(floor.name))
        if inside and (best is None or len(floor.name) > len(best.name)):
            best = floor
    return best


def internal_allowed(floor: Floor, path: str, name: str) -> bool:
    """Whether a file of this floor may include core/src/<name>."""
    for concrete in CONCRETE_BROKERS:
        if name.startswith(concrete + "/") and not path.startswith(concrete + "/"):
            return False
    return any(name == own or name.startswith(own + "/") for own in floor.internal)


def check_angled(report: Report, where: str, path: str, floor: Floor, name: str) -> None:
    """A <header>: public, library or libc."""
    if name == "reeve.h" or name.startswith("reeve/"):
        plain = name in PLAIN_PUBLIC or name.startswith("reeve/sys/")
        if not (floor.tasks or plain):
            report.problems.append(f"{where}: {floor.name} must not know <{name}>")
        return
    for library, pattern in LIBRARIES.items():
        if not pattern.match(name):
            continue
        if library == "hiredis":
            report.hiredis.add(path)
            if floor.name == "wire":
                return
        if library not in floor.libraries:
            report.problems.append(f"{where}: {floor.name} must not include {library} (<{name}>)")
        return
    if name.removesuffix(".h") not in LIBC:
        report.problems.append(f"{where}: <{name}> is no known header")


def check_core_file(report: Report, path: str, text: str) -> None:
    """One file, named relative to core/src."""
    floor = floor_of(path)
    if floor is None:
        report.problems.append(f"core/src/{path}:1: belongs to no floor")
        return
    for include in includes(text):
        report.counts[floor.name.split("/")[0]] += 1
        where = f"core/src/{path}:{include.line}"
        if include.angled:
            check_angled(report, where, path, floor, include.name)
        elif not internal_allowed(floor, path, include.name):
            report.problems.append(f'{where}: {floor.name} must not include "{include.name}"')
    if floor.forbidden is not None:
        for number, line in enumerate(code_only(text).split("\n"), 1):
            found = re.search(floor.forbidden, line)
            if found is not None:
                call = found.group().rstrip("( ")
                report.problems.append(f"core/src/{path}:{number}: {floor.why}: {call}")


def check_binding_file(report: Report, path: Path, text: str) -> None:
    """Bindings see public headers, their language, libc, and themselves."""
    for include in includes(text):
        report.counts["bindings"] += 1
        where = f"{relative(path)}:{include.line}"
        name = include.name
        if include.angled:
            public = name == "reeve.h" or name.startswith("reeve/")
            known = name.removesuffix(".h") in LIBC or BINDING_HEADERS.match(name)
            if not (public or known):
                report.problems.append(f"{where}: bindings must not include <{name}>")
        elif "/" in name or not (path.parent / name).exists():
            report.problems.append(f'{where}: bindings must not include "{name}"')


def check_hiredis(report: Report) -> None:
    """hiredis is a codec behind one file (and nothing else knows it)."""
    if len(report.hiredis) > 1:
        listed = ", ".join(sorted(report.hiredis))
        report.problems.append(f"hiredis is included by more than one file: {listed}")


def main() -> int:
    report = Report()
    core = ROOT / "core" / "src"
    for path in files(core, ".c", ".h"):
        check_core_file(report, str(path.relative_to(core)), path.read_text())
    check_hiredis(report)
    for path in files(ROOT / "bindings", ".c", ".h"):
        check_binding_file(report, path, path.read_text())
    for problem in report.problems:
        print(problem)
    total = sum(report.counts.values())
    parts = ", ".join(f"{name} {n}" for name, n in sorted(report.counts.items()))
    print(f"floors: {total} includes read ({parts}), {len(report.problems)} wrong")
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
