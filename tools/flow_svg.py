"""Draws docs/flow.svg: how a task moves between its states.

python3 tools/flow_svg.py            writes the picture
python3 tools/flow_svg.py --check    exit 1 when the file is not what this draws

The picture carries its own background and follows the reader's light or dark scheme, so it can be
read wherever a page shows it. Nothing but the standard library; the same input gives the same
bytes.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from html import escape
from pathlib import Path

TARGET = Path(__file__).resolve().parents[1] / "docs" / "flow.svg"
WIDTH, HEIGHT = 860, 330
BOX_HEIGHT = 54

STYLE = """
  .page { fill: #ffffff; stroke: #d0d7de; }
  .box { fill: #f6f8fa; stroke: #57606a; }
  .store { fill: #ddf4ff; stroke: #0969da; }
  .good { fill: #dafbe1; stroke: #1a7f37; }
  .bad { fill: #ffebe9; stroke: #cf222e; }
  .line { fill: none; stroke: #57606a; stroke-width: 1.5; }
  .head { fill: #57606a; }
  text { font-family: system-ui, sans-serif; fill: #1f2328; text-anchor: middle; }
  .title { font-size: 15px; font-weight: 600; }
  .small { font-size: 12px; }
  .label { font-size: 12px; fill: #57606a; }
  @media (prefers-color-scheme: dark) {
    .page { fill: #0d1117; stroke: #30363d; }
    .box { fill: #161b22; stroke: #8b949e; }
    .store { fill: #0c2d6b; stroke: #58a6ff; }
    .good { fill: #0f3a1d; stroke: #3fb950; }
    .bad { fill: #490202; stroke: #f85149; }
    .line { stroke: #8b949e; }
    .head { fill: #8b949e; }
    text { fill: #e6edf3; }
    .label { fill: #9da7b1; }
  }
"""


@dataclass(frozen=True)
class Box:
    """A state, or somebody who moves tasks."""

    x: int
    y: int
    width: int
    kind: str
    title: str
    text: str

    def draw(self) -> list[str]:
        middle = self.x + self.width // 2
        return [
            f'<rect class="{self.kind}" x="{self.x}" y="{self.y}" width="{self.width}" '
            f'height="{BOX_HEIGHT}" rx="8"/>',
            f'<text class="title" x="{middle}" y="{self.y + 23}">{escape(self.title)}</text>',
            f'<text class="small" x="{middle}" y="{self.y + 42}">{escape(self.text)}</text>',
        ]


@dataclass(frozen=True)
class Arrow:
    """A move: corners of the line, and what it is called, at a place of its own."""

    points: tuple[tuple[int, int], ...]
    label: str
    at: tuple[int, int]

    def draw(self) -> list[str]:
        corners = " ".join(f"{x},{y}" for x, y in self.points)
        line = f'<polyline class="line" points="{corners}" marker-end="url(#head)"/>'
        x, y = self.at
        return [line, f'<text class="label" x="{x}" y="{y}">{escape(self.label)}</text>']


BOXES = (
    Box(20, 128, 130, "box", "producer", "Python, C"),
    Box(230, 30, 150, "store", "scheduled", "due later"),
    Box(230, 128, 150, "store", "pending", "may run now"),
    Box(230, 246, 150, "store", "retry", "failed, due later"),
    Box(520, 128, 150, "box", "active", "leased to a worker"),
    Box(740, 128, 100, "good", "done", "kept or gone"),
    Box(740, 246, 100, "bad", "archived", "dead letter"),
)
ARROWS = (
    Arrow(((150, 155), (224, 155)), "enqueue", (186, 147)),
    Arrow(((85, 128), (85, 57), (224, 57)), "with a delay", (155, 49)),
    Arrow(((305, 84), (305, 122)), "due", (323, 108)),
    Arrow(((380, 146), (514, 146)), "claim", (448, 138)),
    Arrow(((520, 168), (386, 168)), "lease lapsed, stop", (452, 184)),
    Arrow(((670, 155), (734, 155)), "settle", (700, 147)),
    Arrow(((560, 182), (560, 273), (386, 273)), "failed: back-off", (470, 265)),
    Arrow(((305, 246), (305, 188)), "due", (323, 222)),
    Arrow(((630, 182), (630, 273), (734, 273)), "fatal, exhausted", (682, 265)),
    Arrow(((595, 128), (595, 57), (386, 57)), "snooze", (490, 49)),
    Arrow(((790, 300), (790, 316), (190, 316), (190, 168), (224, 168)), "run again", (490, 311)),
)


def picture() -> str:
    """The whole file."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" height="{HEIGHT}" role="img" aria-labelledby="t">',
        '<title id="t">How a task moves between its states</title>',
        f"<style>{STYLE}</style>",
        '<defs><marker id="head" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path class="head" d="M0,0 L8,4 L0,8 z"/></marker></defs>',
        f'<rect class="page" x="0.5" y="0.5" width="{WIDTH - 1}" height="{HEIGHT - 1}" rx="10"/>',
    ]
    for shape in (*ARROWS, *BOXES):
        parts += shape.draw()
    return "\n".join([*parts, "</svg>", ""])


def main() -> int:
    if sys.argv[1:] == ["--check"]:
        if TARGET.exists() and TARGET.read_text() == picture():
            return 0
        print(f"{TARGET.name} is not what tools/flow_svg.py draws; run it")
        return 1
    if sys.argv[1:]:
        print(f"unknown argument {sys.argv[1]}; known is --check", file=sys.stderr)
        return 2
    TARGET.write_text(picture())
    print(f"wrote {TARGET}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
