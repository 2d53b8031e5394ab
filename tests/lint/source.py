"""Reading source text for the checks in this folder: file lists, C without
comments and strings, includes, and where functions begin and end."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.M)
_TOKEN = re.compile(r"""/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'""", re.S)
_NOT_FUNCTIONS = re.compile(r"^(?:typedef|struct|union|enum)\b[^()]*$")


@dataclass(frozen=True)
class Function:
    """One function: its name, first line (1-based) and length in lines."""

    path: Path
    name: str
    line: int
    lines: int


@dataclass(frozen=True)
class Include:
    """One #include: line (1-based), name, and whether it is in <>."""

    line: int
    name: str
    angled: bool


def files(folder: Path, *suffixes: str) -> list[Path]:
    """Files below folder with one of the suffixes, sorted."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix in suffixes and path.is_file() and "__pycache__" not in path.parts
    )


def without_comments(text: str) -> str:
    """C text with comments blanked, strings and line numbers kept."""

    def blank(match: re.Match[str]) -> str:
        token = match.group()
        if token[0] in "\"'":
            return token
        return re.sub(r"[^\n]", " ", token)

    return _TOKEN.sub(blank, text)


def code_only(text: str) -> str:
    """C text with comments, literals and preprocessor lines blanked; line
    numbers kept."""

    def blank(match: re.Match[str]) -> str:
        return re.sub(r"[^\n]", " ", match.group())

    text = _TOKEN.sub(blank, text)
    return re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", blank, text, flags=re.M)


def includes(text: str) -> list[Include]:
    """The #include lines of a C file."""
    text = without_comments(text)
    return [
        Include(text.count("\n", 0, m.start(1)) + 1, m[2], m[1] == "<")
        for m in _INCLUDE.finditer(text)
    ]


def c_functions(path: Path, text: str) -> list[Function]:
    """The function definitions of a C file. Raises ValueError when the braces
    do not balance, because then the figures would be wrong."""
    code = code_only(text)
    # extern "C" { … } opens a scope without being a function.
    code = re.sub(r"\bextern\s*\{", lambda m: " " * len(m.group()), code)
    found: list[Function] = []
    depth = 0
    start = 0  # of the text since the last top-level ; or }
    head: tuple[str, int] | None = None
    for match in re.finditer(r"[{};]", code):
        mark = match.group()
        if mark == "{":
            if depth == 0:
                head = _function_head(code, start, match.start())
            depth += 1
        elif mark == "}":
            depth -= 1
            if depth < 0:
                raise ValueError(f"{path}: unbalanced braces")
            if depth == 0:
                if head is not None:
                    name, first = head
                    last = code.count("\n", 0, match.start()) + 1
                    found.append(Function(path, name, first, last - first + 1))
                    head = None
                start = match.end()
        elif depth == 0:
            start = match.end()
    if depth != 0:
        raise ValueError(f"{path}: unbalanced braces")
    return found


def _function_head(code: str, start: int, end: int) -> tuple[str, int] | None:
    declaration = code[start:end]
    flat = declaration.strip()
    if not flat.endswith(")") or "=" in flat or _NOT_FUNCTIONS.match(flat):
        return None
    name = re.search(r"(\w+)\s*\(", flat)
    if name is None:
        return None
    skipped = len(declaration) - len(declaration.lstrip())
    return name[1], code.count("\n", 0, start + skipped) + 1


def py_functions(path: Path, text: str) -> list[Function]:
    """The function definitions of a Python file, nested ones included."""
    found = []
    for node in ast.walk(ast.parse(text, str(path))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            last = node.end_lineno or node.lineno
            found.append(Function(path, node.name, node.lineno, last - node.lineno + 1))
    return found


def relative(path: Path) -> str:
    """The path as people write it."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)
