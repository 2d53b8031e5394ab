"""Writes the generated parts of the documentation, between their markers:

    <!-- generated: NAME by tools/docs_tables.py -->
    …
    <!-- end of NAME -->

python3 tools/docs_tables.py [NAME…]            writes them (default: all)
python3 tools/docs_tables.py --check [NAME…]    exit 1 when a page is not what this writes

NAME is errors (docs/c-api.md, from core/include/reeve/error.h and reeve's exceptions), decisions
(docs/index.md, from the titles in docs/decisions) or cli (docs/cli.md, from `reeve --help`; needs
the installed package).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ERROR_H = ROOT / "core" / "include" / "reeve" / "error.h"
ERRORS_PY = ROOT / "bindings" / "python" / "reeve" / "_errors.py"

_ROW = re.compile(r'X\((\w+), (-\d+), "([\w-]+)", (\w+),\s*\\?\s*"([^"]+)"\)')
_CLASS = re.compile(r'^class (\w+)\(.*?\):\n.*?^    slug = "([\w-]+)"', re.M | re.S)


def exceptions() -> dict[str, str]:
    """Slug of a code to the Python exception."""
    return {slug: name for name, slug in _CLASS.findall(ERRORS_PY.read_text())}


def errors() -> str:
    """The table of error codes."""
    classes = exceptions()
    rows = _ROW.findall(ERROR_H.read_text())
    if not rows:
        sys.exit(f"no error table in {ERROR_H}")
    lines = [
        "| constant | number | slug | class | text | in Python |",
        "|---|---|---|---|---|---|",
    ]
    for name, number, slug, kind, text in rows:
        lines.append(
            f"| `REEVE_E_{name}` | {number} | `{slug}` | `{kind}` | {text} | `{classes[slug]}` |"
        )
    return "\n".join(lines)


def decisions() -> str:
    """The list of decisions, by number."""
    rows = ["| | |", "|---|---|"]
    for path in sorted((ROOT / "docs" / "decisions").glob("*.md")):
        title = path.read_text().partition("\n")[0].lstrip("# ")
        rows.append(f"| {path.name[:4]} | [{title}](decisions/{path.name}) |")
    return "\n".join(rows)


def commands() -> Iterator[tuple[str, str]]:
    """(full name, help text) of each command, the root first."""
    import click

    from reeve.cli import cli

    def walk(
        command: click.Command, parent: click.Context | None, name: str
    ) -> Iterator[tuple[str, str]]:
        settings = {**command.context_settings, "terminal_width": 88, "max_content_width": 88}
        with click.Context(command, parent=parent, info_name=name, **settings) as ctx:
            yield ctx.command_path, command.get_help(ctx)
            if isinstance(command, click.Group):
                for child in command.list_commands(ctx):
                    found = command.get_command(ctx, child)
                    if found is not None and not found.hidden:
                        yield from walk(found, ctx, child)

    yield from walk(cli, None, "reeve")


def cli_text() -> str:
    """Help of every command."""
    parts = []
    for path, text in commands():
        lines = "\n".join(line.rstrip() for line in text.splitlines())
        parts.append(f"### {path}\n\n```text\n{lines}\n```")
    return "\n\n".join(parts)


PARTS: dict[str, tuple[Path, Callable[[], str]]] = {
    "errors": (ROOT / "docs" / "c-api.md", errors),
    "decisions": (ROOT / "docs" / "index.md", decisions),
    "cli": (ROOT / "docs" / "cli.md", cli_text),
}


def put(name: str, page: str, text: str) -> str:
    """The page with its generated part replaced."""
    start = f"<!-- generated: {name} by tools/docs_tables.py -->"
    end = f"<!-- end of {name} -->"
    if page.count(start) != 1 or page.count(end) != 1:
        sys.exit(f"a page has no place for {name}: {start} … {end}")
    head, rest = page.split(start)
    return f"{head}{start}\n\n{text}\n\n{end}{rest.split(end)[1]}"


def main() -> int:
    names = sys.argv[1:]
    check = names[:1] == ["--check"]
    names = names[1:] if check else names
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        print(f"no part {unknown[0]}; there are {', '.join(PARTS)}", file=sys.stderr)
        return 2
    stale = []
    for name in names or PARTS:
        path, make = PARTS[name]
        page = path.read_text()
        fresh = put(name, page, make())
        if page == fresh:
            continue
        stale.append(path)
        if check:
            print(f"docs/{path.name}: run python3 tools/docs_tables.py {name}")
        else:
            path.write_text(fresh)
            print(f"wrote {name} into docs/{path.name}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
