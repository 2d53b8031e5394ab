"""The checks catch what they are for: each is fed a violation."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import check_abi  # noqa: E402
import check_floors  # noqa: E402
import check_sizes  # noqa: E402
import run as runner  # noqa: E402
import source  # noqa: E402


def floor_problems(path: str, text: str) -> list[str]:
    report = check_floors.Report()
    check_floors.check_core_file(report, path, text)
    return report.problems


class Floors(unittest.TestCase):
    def test_allowed(self) -> None:
        good = {
            "base/buf.c": '#include "base/buf.h"\n#include <string.h>\n',
            "task/json.c": "#include <cjson/cJSON.h>\n",
            "task/json_write.c": "#include <cjson/cJSON.h>\n",
            "policy/settle.c": '#include "policy/backoff.h"\n#include <reeve/task.h>\n',
            "wire/resp.c": "#include <hiredis/hiredis.h>\n#include <openssl/ssl.h>\n",
            "broker/open.c": '#include "wire/url.h"\n',
            "broker/redis/turn.c": '#include "wire/conn.h"\n#include "scripts_gen.h"\n',
            "broker/sqlite/open.c": "#include <sqlite3.h>\n",
            "runtime/fetch.c": '#include "broker/broker.h"\n#include "policy/a.h"\n',
        }
        for path, text in good.items():
            assert floor_problems(path, text) == [], path

    def test_forbidden(self) -> None:
        bad = {
            "base/buf.c": '#include "task/id.h"\n',
            "base/env.h": "#include <reeve/task.h>\n",
            "task/id.c": "#include <cjson/cJSON.h>\n",
            "task/state.c": '#include "wire/resp.h"\n',
            "policy/lease.c": '#include "task/id.h"\n',
            "policy/select.c": '#include "broker/broker.h"\n',
            "wire/conn.c": '#include "task/json.h"\n',
            "wire/url.c": "#include <reeve.h>\n",
            "broker/rows.c": '#include "policy/settle.h"\n',
            "broker/check.c": '#include "wire/conn.h"\n',
            "broker/open.c": '#include "wire/conn.h"\n',
            "broker/mem/mem.c": '#include "wire/url.h"\n',
            "broker/mem/tree.c": '#include "broker/redis/keys.h"\n',
            "broker/redis/turn.c": "#include <sqlite3.h>\n",
            "broker/redis/keys.c": "#include <hiredis/hiredis.h>\n",
            "client/client.c": '#include "broker/rows.h"\n',
            "client/shared.c": '#include "runtime/worker.h"\n',
            "runtime/fetch.c": '#include "wire/conn.h"\n',
            "runtime/ticker.c": '#include "broker/redis/redis.h"\n',
            "runtime/executor.c": "#include <Python.h>\n",
            "runtime/roles.c": '#include "inspect/inspector.h"\n',
            "inspect/lists.c": '#include "runtime/worker.h"\n',
            "extra/new.c": "",
        }
        for path, text in bad.items():
            assert len(floor_problems(path, text)) == 1, path

    def test_forbidden_calls(self) -> None:
        call = "void f(void) {\n    g(reeve__now_at_ms(env));\n}\n"
        problem = "core/src/policy/lease.c:2: policy takes time and chance as arguments: "
        assert floor_problems("policy/lease.c", call) == [problem + "reeve__now_at_ms"]
        assert floor_problems("runtime/ticker.c", call) == []
        comment = "/* never reeve__now_at_ms(env) */\n"
        assert floor_problems("policy/lease.c", comment) == []

    def test_comment_is_no_include(self) -> None:
        text = '/*\n#include "wire/conn.h"\n*/\n// #include "wire/conn.h"\n'
        assert floor_problems("base/buf.c", text) == []

    def test_hiredis_in_two_files(self) -> None:
        report = check_floors.Report()
        for path in ("wire/a.c", "wire/b.c"):
            check_floors.check_core_file(report, path, "#include <hiredis/read.h>\n")
        assert report.problems == []
        check_floors.check_hiredis(report)
        assert len(report.problems) == 1

    def test_bindings_see_public_headers_only(self) -> None:
        path = source.ROOT / "bindings" / "python" / "src" / "x.c"
        for text, wrong in (
            ("#include <Python.h>\n#include <reeve.h>\n", 0),
            ('#include "base/buf.h"\n', 1),
            ("#include <hiredis/hiredis.h>\n", 1),
            ('#include "../../../core/src/base/buf.h"\n', 1),
        ):
            report = check_floors.Report()
            check_floors.check_binding_file(report, path, text)
            assert len(report.problems) == wrong, text


C_TEXT = """
#define MACRO(x) { x }
typedef struct s {
    int a;
} s;
static const int table[] = { 1, 2 };
/* int not_me(void) { */
static int
one(void) {
    return '{' + "}"[0];
}

int two(int a,
        int b) {
    if (a) {
        b++;
    }
    return b;
}
enum e { A, B };
"""


class Sizes(unittest.TestCase):
    def test_c_functions(self) -> None:
        found = source.c_functions(Path("x.c"), C_TEXT)
        assert [(f.name, f.line, f.lines) for f in found] == [("one", 8, 4), ("two", 13, 7)]

    def test_unbalanced_is_an_error(self) -> None:
        def is_refused(text: str) -> bool:
            try:
                source.c_functions(Path("x.c"), text)
            except ValueError:
                return True
            return False

        assert is_refused("void f(void) {\n")
        assert is_refused("}\n")
        assert not is_refused(C_TEXT)

    def test_py_functions(self) -> None:
        text = "def a():\n    def b():\n        pass\n\n    return b\n"
        found = source.py_functions(Path("x.py"), text)
        assert {(f.name, f.lines) for f in found} == {("a", 5), ("b", 2)}

    def test_bounds(self) -> None:
        def run(lines: int) -> tuple[int, int]:
            f = source.Function(Path("x.c"), "f", 1, lines)
            bad, long = check_sizes.judge([f], {})
            return len(bad), len(long)

        assert run(80) == (0, 0)
        assert run(81) == (0, 1)
        assert run(121) == (1, 0)
        assert len(check_sizes.judge([], {Path("x"): 801})[0]) == 1

    def test_percentile(self) -> None:
        values = list(range(1, 11))
        assert check_sizes.percentile(values, 50) == 5
        assert check_sizes.percentile(values, 90) == 9
        assert check_sizes.percentile([], 50) == 0


class Abi(unittest.TestCase):
    def test_reads_headers_and_map(self) -> None:
        header = (
            "#define REEVE_EXTERN x\n"
            "/* REEVE_EXTERN int reeve_no(void); */\n"
            "REEVE_EXTERN const char *reeve_a(void (*f)(int));\n"
            "REEVE_EXTERN reeve_rc\nreeve_b(int x,\n  int y);\n"
            "int reeve_internal(void);\n"
        )
        assert check_abi.declared([header]) == {"reeve_a", "reeve_b"}
        text = "/* c */ V1 { global: reeve_a; local: *; }; V2 { global: reeve_b; };"
        assert check_abi.mapped(text) == {"reeve_a", "reeve_b"}

    def test_differences_are_named(self) -> None:
        problems = check_abi.compare({"h": {"a", "b"}, "m": {"a"}, "so": {"a", "b"}})
        assert problems == ["b: in h and so, not in m"]


CMOCKA_MIXED = """[==========] Running 4 test(s).
[ RUN      ] good
[       OK ] good
[ RUN      ] bad
[  ERROR   ] --- 0x1 != 0x2
[  FAILED  ] bad
[ RUN      ] left_out
[  SKIPPED ] left_out
[ RUN      ] last
"""
CMOCKA_END = """[       OK ] last
[==========] 4 test(s) run.
[  PASSED  ] 2 test(s).
[  SKIPPED ] 1 test(s), listed below:
[  SKIPPED ] left_out
[  FAILED  ] 1 test(s), listed below:
[  FAILED  ] bad
"""


class Runner(unittest.TestCase):
    """Nothing that goes wrong may count as passed."""

    def test_cmocka(self) -> None:
        count = runner.count_cmocka
        assert count(CMOCKA_MIXED + CMOCKA_END, 1) == (2, 1, 1)
        assert count(CMOCKA_MIXED, -11) == (1, 2, 0)  # crashed in the last
        assert count(CMOCKA_MIXED, None) == (1, 2, 0)  # timed out in the last
        assert count("", 0) == (0, 1, 0)  # ran nothing
        good = "[       OK ] a\n[  PASSED  ] 1 test(s).\n"
        assert count(good, 0) == (1, 0, 0)
        assert count(good, 23) == (1, 1, 0)  # a sanitizer spoke at exit
        fixture = "[  FAILED  ] GROUP SETUP\n[  ERROR   ] t\n[  PASSED  ] 0 test(s).\n"
        assert count(fixture, 1) == (0, 1, 0)

    def test_unittest(self) -> None:
        count = runner.count_unittest
        assert count("Ran 3 tests in 0.1s\n\nOK\n", 0) == (3, 0, 0)
        text = "Ran 3 tests in 0.1s\n\nFAILED (failures=1, errors=1)\n"
        assert count(text, 1) == (1, 2, 0)
        assert count("Traceback", 1) == (0, 1, 0)

    def test_junit(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "x.xml"
            assert runner.count_junit(path, 2) == (0, 1, 0)
            suite = '<testsuite tests="9" failures="1" errors="2" skipped="3"/>'
            path.write_text(f"<testsuites>{suite}</testsuites>")
            assert runner.count_junit(path, 1) == (3, 3, 3)
            path.write_text('<testsuites><testsuite tests="2"/></testsuites>')
            assert runner.count_junit(path, 0) == (2, 0, 0)
            assert runner.count_junit(path, 1) == (2, 1, 0)
            assert runner.count_junit(path, None) == (2, 1, 0)


class Commands(unittest.TestCase):
    def test_floor_check_prints_figures(self) -> None:
        run = subprocess.run(
            [sys.executable, str(HERE / "check_floors.py")],
            capture_output=True,
            text=True,
        )
        assert re.search(r"floors: [1-9]\d* includes read \(.*base \d+", run.stdout)


if __name__ == "__main__":
    unittest.main()
