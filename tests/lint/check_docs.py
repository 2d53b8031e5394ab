"""The documentation agrees with the tree: links and anchors exist, generated
parts are fresh, C compiles, Python parses, every public C function and every
name of the package is described, and commands, options and make targets that
pages name exist. tests/e2e/test_docs.py runs the Python of the pages."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from source import ROOT, files, relative

DOCS = ROOT / "docs"
PACKAGE = ROOT / "bindings" / "python" / "reeve"
#: Classes whose methods python-api.md must name.
HELD = (
    ("_app.py", "App"),
    ("_context.py", "Context"),
    ("_inspect.py", "DeadLetters"),
    ("_inspect.py", "Inspect"),
    ("_job.py", "Job"),
    ("_task.py", "BoundTask"),
    ("testing.py", "Clock"),
    ("testing.py", "Harness"),
    ("worker.py", "Worker"),
)
C_FLAGS = ["-std=c11", "-D_POSIX_C_SOURCE=200809L", "-Wall", "-Wextra", "-Werror"]

_FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.M | re.S)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} +(.+)$", re.M)
_CODE = re.compile(r"`([^`\n]+)`")
_MAKE = re.compile(r"make ([a-z]+)\b")
_REEVE = re.compile(r"(?:\S*/)?reeve ([a-z][^|)]*)")


@dataclass
class Report:
    """What is wrong, and how much was looked at."""

    problems: list[str] = field(default_factory=list)
    links: int = 0
    blocks: int = 0
    names: int = 0
    commands: int = 0

    def bad(self, page: Path, what: str) -> None:
        self.problems.append(f"{relative(page)}: {what}")


def pages() -> list[Path]:
    """All Markdown that the project publishes."""
    return [ROOT / "README.md", ROOT / "CHANGELOG.md", *files(DOCS, ".md")]


def without_fences(text: str) -> str:
    return _FENCE.sub("", text)


def anchor(heading: str) -> str:
    """The anchor that a heading gets on a code host."""
    plain = re.sub(r"[`*_]|\]\([^)]*\)|\[", "", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


def anchors(page: Path) -> set[str]:
    return {anchor(h) for h in _HEADING.findall(without_fences(page.read_text()))}


def check_links(report: Report, page: Path, text: str) -> None:
    for link in _LINK.findall(without_fences(text)):
        if re.match(r"[a-z]+:", link):
            continue
        report.links += 1
        name, _, part = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists():
            report.bad(page, f"link to {link}, which does not exist")
        elif part and target.suffix == ".md" and part not in anchors(target):
            report.bad(page, f"link to {link}: no such heading there")


def compile_c(code: str) -> str:
    """gcc's complaint; "" if none."""
    done = subprocess.run(
        ["gcc", *C_FLAGS, f"-I{ROOT / 'core' / 'include'}", "-fsyntax-only", "-xc", "-"],
        input=code,
        capture_output=True,
        text=True,
    )
    return "" if done.returncode == 0 else done.stderr.strip()


def check_blocks(report: Report, page: Path, text: str) -> None:
    """A block that says `c` is a whole file; `c part` is not checked."""
    for info, code in _FENCE.findall(text):
        report.blocks += 1
        language = info.split(" ")[0]
        complaint = ""
        if info == "c":
            complaint = compile_c(code)
        elif language == "python":
            try:
                compile(code, "block", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            except SyntaxError as error:
                complaint = str(error)
        elif not language:
            complaint = "block without a language"
        if complaint:
            report.bad(page, f"{complaint} in\n{code}")


def cli_words() -> tuple[set[str], set[str]]:
    """(commands, options) of the command line, read from its source."""
    commands: set[str] = set()
    options: set[str] = {"--help"}
    for path in files(PACKAGE / "cli", ".py"):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            text = node.value if isinstance(node, ast.Constant) else None
            if isinstance(text, str) and re.fullmatch(r"--[a-z][a-z-]*", text):
                options.add(text)
            if not isinstance(node, ast.FunctionDef):
                continue
            for decorator in node.decorator_list:
                call = decorator if isinstance(decorator, ast.Call) else None
                if call is None or not isinstance(call.func, ast.Attribute):
                    continue
                if call.func.attr in ("command", "group"):
                    given = [a.value for a in call.args if isinstance(a, ast.Constant)]
                    commands.add(str(given[0]) if given else node.name.rstrip("_"))
    return commands, options


def commands_of(text: str) -> list[str]:
    """What pages tell to type: lines of shell blocks, and code in sentences."""
    blocks = [code for info, code in _FENCE.findall(text) if info.split(" ")[0] == "sh"]
    return [line for code in blocks for line in code.splitlines()] + _CODE.findall(
        without_fences(text)
    )


def check_commands(report: Report, page: Path, text: str) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    commands, options = cli_words()
    for line in commands_of(text):
        if made := _MAKE.match(line):
            report.commands += 1
            if made[1] not in targets:
                report.bad(page, f"make {made[1]}: there is no such target")
        if run := _REEVE.match(line):
            report.commands += 1
            words = run[1].split()
            if words[0] not in commands:
                report.bad(page, f"{line}: there is no command {words[0]}")
            for option in re.findall(r"(?<!\S)--[a-z][a-z-]*", run[1]):
                if option not in options:
                    report.bad(page, f"{line}: there is no option {option}")


def python_names() -> set[str]:
    """Public names of the package, and methods of the classes that users hold."""
    init = ast.parse((PACKAGE / "__init__.py").read_text())
    names: set[str] = set()
    for node in init.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            names |= set(ast.literal_eval(node.value))
    for file, kind in HELD:
        tree = ast.parse((PACKAGE / file).read_text())
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and node.name == kind:
                members = [m for m in node.body if isinstance(m, ast.FunctionDef)]
                names |= {m.name for m in members if not m.name.startswith("_")}
    return names


def check_names(report: Report) -> None:
    """Nothing public is left out of the references."""
    page = DOCS / "c-api.md"
    text = page.read_text()
    headers = {h: h.read_text() for h in files(ROOT / "core" / "include", ".h")}
    for header, code in headers.items():
        for name in re.findall(r"^REEVE_EXTERN[^;]*?\b(reeve_\w+)\(", code, re.M):
            report.names += 1
            if not re.search(rf"\b{name}\b", text):
                report.bad(page, f"{name} of {header.name} is not described")
    for name in sorted(set(re.findall(r"`(reeve_\w+)`", text))):
        if not any(re.search(rf"\b{name}\b", code) for code in headers.values()):
            report.bad(page, f"{name} is in no public header")
    page = DOCS / "python-api.md"
    text = page.read_text()
    for name in sorted(python_names()):
        report.names += 1
        if not re.search(rf"\b{name}\b", text):
            report.bad(page, f"{name} is not described")


def check_stored(report: Report) -> None:
    """Every key of Redis and every column of SQLite stands in the format."""
    page = DOCS / "stored-format.md"
    text = page.read_text()
    broker = ROOT / "core" / "src" / "broker"
    keys = re.findall(r'\[REEVE__KEY_\w+\] = "(\w+)"', (broker / "redis/keys.c").read_text())
    schema = (broker / "sqlite/connect.c").read_text()
    wanted = {f"`reeve:{{q}}:{key}`" for key in keys}
    wanted |= {f"`{c}`" for c in re.findall(r'" (\w+) (?:INTEGER|TEXT|BLOB)', schema)}
    wanted |= {f"`{t}`" for t in re.findall(r"CREATE TABLE (\w+)", schema)}
    if len(wanted) < 20:
        report.bad(page, "the keys or the schema could not be read from the source")
    for name in sorted(wanted):
        report.names += 1
        if name not in text:
            report.bad(page, f"{name} is not described")


def literals() -> str:
    """All text that the source may print, adjacent C literals joined."""
    parts = []
    for path in [*files(ROOT / "core" / "src", ".c"), *files(PACKAGE, ".py")]:
        joined = re.sub(r'"\s*\n\s*f?"', "", path.read_text())
        parts += re.findall(r'"((?:\\.|[^"\\\n])*)"', joined)
    return "\n".join(parts)


def check_log_lines(report: Report) -> None:
    """The lines that operations.md explains are lines that the source has."""
    page = DOCS / "operations.md"
    section = page.read_text().partition("## Log lines")[2]
    corpus = literals()
    for cell in re.findall(r"^\| (`.*?) \|", section, re.M):
        for line in _CODE.findall(cell):
            report.names += 1
            for part in re.split(r"…|\b[NM]\b", line):
                part = part.strip(" :,;()")
                if len(part) > 4 and part not in corpus:
                    report.bad(page, f"no log line has {part!r} ({line})")


def check_index(report: Report) -> None:
    """Every page can be found from docs/index.md."""
    index = DOCS / "index.md"
    links = set(_LINK.findall(index.read_text()))
    for page in files(DOCS, ".md"):
        name = str(page.relative_to(DOCS))
        if page != index and name not in links:
            report.bad(index, f"no link to {name}")


def check_numbers(report: Report) -> None:
    """A decision is cited by its number: no two share one."""
    met: dict[str, str] = {}
    for page in files(DOCS / "decisions", ".md"):
        other = met.setdefault(page.name[:4], page.name)
        if other != page.name:
            report.bad(page, f"has the number of {other}")


def check_generated(report: Report) -> None:
    """Pictures and tables are what their scripts write. The part about the
    command line needs the installed package: tests/e2e/test_docs.py."""
    commands = [
        ["tools/flow_svg.py", "--check"],
        ["tools/docs_tables.py", "--check", "errors", "decisions"],
    ]
    if (DOCS / "benchmarks.json").exists():
        commands.append(["tests/bench/report.py", "--check"])
    for command in commands:
        script = str(ROOT / command[0])
        done = subprocess.run(
            [sys.executable, script, *command[1:]], capture_output=True, text=True
        )
        if done.returncode != 0:
            report.problems.append((done.stdout + done.stderr).strip())


def main() -> int:
    report = Report()
    for page in pages():
        text = page.read_text()
        check_links(report, page, text)
        check_blocks(report, page, text)
        check_commands(report, page, text)
    check_names(report)
    check_index(report)
    check_numbers(report)
    check_stored(report)
    check_log_lines(report)
    check_generated(report)
    for problem in report.problems:
        print(problem)
    print(
        f"docs: {len(pages())} pages, {report.links} links, {report.blocks} blocks, "
        f"{report.commands} commands, {report.names} names, {len(report.problems)} wrong"
    )
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
