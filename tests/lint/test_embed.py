"""core/cmake/embed_scripts.cmake: includes, stripping, refusals."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from source import ROOT

EMBED = ROOT / "core" / "cmake" / "embed_scripts.cmake"


def embed(folder: Path, scripts: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Runs the embedding over these files; output goes to folder/out."""
    (folder / "lib").mkdir(exist_ok=True)
    for name, text in scripts.items():
        (folder / name).write_text(text)
    return subprocess.run(
        ["cmake", f"-DSCRIPTS_DIR={folder}", f"-DOUT_DIR={folder / 'out'}", "-P", str(EMBED)],
        capture_output=True,
        text=True,
    )


class Embedding(unittest.TestCase):
    def setUp(self) -> None:
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = Path(scratch.name)

    def stripped(self, text: str, **lib: str) -> str:
        files = {f"lib/{name}.lua": body for name, body in lib.items()}
        run = embed(self.folder, {"turn.lua": text, **files})
        assert run.returncode == 0, run.stderr
        return (self.folder / "out" / "turn.lua").read_text()

    def test_comments_and_indentation_go(self) -> None:
        text = "-- head [[ x ]]\n\nif a then\n\t  return b -- why\nend\n   --x\n"
        assert self.stripped(text) == "if a then\nreturn b -- why\nend\n"

    def test_text_survives(self) -> None:
        line = r"local s = {'a;b', \"\\n[%d]\", t[u[1]], '$x ${y} @z@ #'}"
        assert self.stripped(line) == line + "\n"

    def test_includes_nest_and_come_once(self) -> None:
        got = self.stripped(
            "--@include lib/b.lua\n--@include lib/a.lua\nreturn a\n",
            a="local a = 1\n",
            b="--@include lib/a.lua\nlocal b = a\n",
        )
        assert got == "local a = 1\nlocal b = a\nreturn a\n"

    def test_bytes_and_digest(self) -> None:
        text = self.stripped("return 'é'\n").encode()
        source = (self.folder / "out" / "scripts_gen.c").read_text()
        digest = hashlib.sha1(text).hexdigest()
        assert f'"turn", "{digest}"' in source
        octets = bytes(int(x, 16) for x in re.findall(r"0x([0-9a-f]{2})", source))
        assert octets == text + b"\0"

    def test_no_scripts_at_all(self) -> None:
        assert embed(self.folder, {}).returncode == 0
        header = (self.folder / "out" / "scripts_gen.h").read_text()
        assert re.search(r"\{\s*REEVE__SCRIPT_COUNT\s*\}", header)

    def test_refusals(self) -> None:
        bad = {
            "turn.lua": ["--[[ block\n]]\n", "local s = [[x]]\n", "x = [==[y]==]\n"],
            "Turn-2.lua": ["return 1\n"],
            "count.lua": ["return 1\n"],
        }
        bad["turn.lua"] += ["--@include lib/none.lua\n", "--@import x\n", "x = '\x01'\n"]
        for name, texts in bad.items():
            for text in texts:
                run = embed(self.folder, {name: text})
                assert run.returncode != 0, text
                assert name in run.stderr or "none.lua" in run.stderr, run.stderr
            (self.folder / name).unlink()


if __name__ == "__main__":
    unittest.main()
