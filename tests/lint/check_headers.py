"""Every public header compiles alone, as C11 and as C++17, with every compiler
found (cc, gcc, clang)."""

from __future__ import annotations

import shutil
import subprocess
import sys

from source import ROOT, files

COMPILERS = {
    "c11": ("gcc", "clang"),
    "c++17": ("g++", "clang++"),
}
FLAGS = ["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only"]


def compile_alone(compiler: str, standard: str, header: str) -> str:
    """Compiler's complaint about a file that has only this header; "" if
    none."""
    language = "c" if standard == "c11" else "c++"
    run = subprocess.run(
        [
            compiler,
            f"-std={standard}",
            *FLAGS,
            f"-I{ROOT / 'core' / 'include'}",
            f"-x{language}",
            "-",
        ],
        input=f"#include <{header}>\nint main(void);\n"
        if language == "c"
        else f"#include <{header}>\nint main();\n",
        capture_output=True,
        text=True,
    )
    return "" if run.returncode == 0 else run.stderr.strip()


def main() -> int:
    include = ROOT / "core" / "include"
    headers = [str(p.relative_to(include)) for p in files(include, ".h")]
    runs = problems = 0
    for standard, compilers in COMPILERS.items():
        found = [name for name in compilers if shutil.which(name)]
        if not found:
            print(f"no compiler for {standard}: tried {', '.join(compilers)}")
            problems += 1
        for compiler in found:
            for header in headers:
                runs += 1
                complaint = compile_alone(compiler, standard, header)
                if complaint:
                    problems += 1
                    print(f"<{header}> with {compiler} -std={standard}:\n{complaint}")
    print(f"headers: {len(headers)} headers, {runs} compilations, {problems} wrong")
    return 1 if problems or not headers else 0


if __name__ == "__main__":
    sys.exit(main())
