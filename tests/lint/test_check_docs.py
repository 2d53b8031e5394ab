"""The checks of the documentation catch what they are for: each is fed a
violation, and something like it that is fine."""

from __future__ import annotations

import importlib
import shutil
import sys
import tempfile
import unittest
from collections.abc import Callable
from pathlib import Path
from unittest import mock

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "tools")]

import check_docs  # noqa: E402
from source import ROOT  # noqa: E402

docs_tables = importlib.import_module("docs_tables")
flow_svg = importlib.import_module("flow_svg")

Check = Callable[[check_docs.Report, Path, str], None]


def problems(check: Check, text: str) -> list[str]:
    """What a check says of a page with this text, in a folder of the tree."""
    report = check_docs.Report()
    with tempfile.TemporaryDirectory(dir=ROOT / "tests") as folder:
        page = Path(folder) / "page.md"
        page.write_text(text)
        check(report, page, text)
    return report.problems


class Links(unittest.TestCase):
    def good(self, text: str) -> None:
        assert problems(check_docs.check_links, text) == []

    def bad(self, text: str, part: str) -> None:
        found = problems(check_docs.check_links, text)
        assert len(found) == 1, found
        assert part in found[0]

    def test_files(self) -> None:
        self.good("[a](page.md) ![b](../../README.md) [c](https://example.org/x)")
        self.bad("[a](gone.md)", "gone.md")
        self.bad("![a](gone.svg)", "gone.svg")

    def test_anchors(self) -> None:
        self.good("# One `Two` Three\n\n[a](#one-two-three) [b](page.md#one-two-three)")
        self.bad("# One\n\n[a](#two)", "#two")

    def test_code_is_no_link(self) -> None:
        self.good("```text\n[a](gone.md)\n```\n")


class Blocks(unittest.TestCase):
    def check(self, text: str) -> list[str]:
        return problems(check_docs.check_blocks, text)

    def test_python(self) -> None:
        assert self.check("```python\nawait x()\n```\n") == []
        assert len(self.check("```python run\nx = = 1\n```\n")) == 1

    def test_c(self) -> None:
        good = "```c\n#include <reeve.h>\nint main(void) {\n    return 0;\n}\n```\n"
        assert self.check(good) == []
        assert len(self.check(good.replace("reeve.h", "gone.h"))) == 1
        assert len(self.check(good.replace("return 0", "int unused"))) == 1
        assert self.check("```c part\nint x = ;\n```\n") == []

    def test_language(self) -> None:
        assert len(self.check("```\nx\n```\n")) == 1


class Commands(unittest.TestCase):
    def check(self, text: str) -> list[str]:
        return problems(check_docs.check_commands, text)

    def test_commands(self) -> None:
        assert self.check("`reeve worker app --queues a=1` and reeve gone") == []
        assert len(self.check("`reeve gone`")) == 1
        assert len(self.check("```sh\nreeve gone app\n```\n")) == 1

    def test_options(self) -> None:
        assert len(self.check("`.venv/bin/reeve worker app --gone`")) == 1

    def test_targets(self) -> None:
        assert self.check("`make test` makes sense") == []
        assert len(self.check("`make sense`")) == 1


class Coverage(unittest.TestCase):
    """Pages as they are hold; pages with a word changed do not."""

    def spoiled(self, name: str, old: str, new: str) -> list[str]:
        with tempfile.TemporaryDirectory(dir=ROOT / "tests") as folder:
            copy = Path(folder) / "docs"
            shutil.copytree(ROOT / "docs", copy)
            page = copy / name
            text = page.read_text()
            assert old in text
            page.write_text(text.replace(old, new))
            report = check_docs.Report()
            with mock.patch.object(check_docs, "DOCS", copy):
                check_docs.check_index(report)
                check_docs.check_names(report)
                check_docs.check_stored(report)
                check_docs.check_log_lines(report)
        return report.problems

    def test_pages_hold(self) -> None:
        assert self.spoiled("index.md", "Look up", "See") == []

    def test_page_without_a_way_to_it(self) -> None:
        assert len(self.spoiled("index.md", "decisions/0007-doorbell.md", "index.md")) == 1

    def test_decisions_of_one_number(self) -> None:
        with tempfile.TemporaryDirectory(dir=ROOT / "tests") as folder:
            copy = Path(folder)
            (copy / "decisions").mkdir()
            for name in ("0001-one.md", "0002-two.md", "0002-too.md"):
                (copy / "decisions" / name).write_text("# It\n")
            report = check_docs.Report()
            with mock.patch.object(check_docs, "DOCS", copy):
                check_docs.check_numbers(report)
        assert len(report.problems) == 1
        assert "0002-" in report.problems[0]

    def test_c_function(self) -> None:
        found = self.spoiled("c-api.md", "reeve_worker_poll", "reeve_worker_pool")
        assert len(found) == 2

    def test_python_method(self) -> None:
        assert len(self.spoiled("python-api.md", "reclaim_worker", "claim_worker")) == 1

    def test_key_and_column(self) -> None:
        assert len(self.spoiled("stored-format.md", ":meta`", ":mate`")) == 1
        assert len(self.spoiled("stored-format.md", "`beat_at_ms`", "`beat`")) == 1

    def test_log_line(self) -> None:
        assert len(self.spoiled("operations.md", "took over N", "takes over N")) == 1


class Generated(unittest.TestCase):
    def test_put(self) -> None:
        mark = "<!-- generated: x by tools/docs_tables.py -->"
        page = f"a\n{mark}\nold\n<!-- end of x -->\nb\n"
        fresh = docs_tables.put("x", page, "new")
        assert "new" in fresh
        assert "old" not in fresh
        assert fresh.startswith("a\n")
        assert fresh.endswith("\nb\n")
        assert docs_tables.put("x", fresh, "new") == fresh
        try:
            docs_tables.put("x", "no marks", "new")
        except SystemExit:
            return
        raise AssertionError("a page without marks was taken")

    def test_every_code_has_an_exception(self) -> None:
        table = docs_tables.errors()
        assert "| `REEVE_E_LEASE_LOST` | -42 | `lease-lost` | `FINAL` |" in table
        assert len(table.splitlines()) - 2 == table.count("`REEVE_E_")

    def test_picture_is_well_formed(self) -> None:
        import xml.etree.ElementTree as ElementTree

        root = ElementTree.fromstring(flow_svg.picture())
        boxes = [e for e in root.iter() if e.tag.endswith("rect")]
        assert len(boxes) == len(flow_svg.BOXES) + 1


if __name__ == "__main__":
    unittest.main()
