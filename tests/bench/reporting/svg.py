"""Charts as SVG: bars, parted bars, spans and lines. The pictures carry their own background,
follow the reader's light or dark scheme, keep text as text, and come out the same for the same
figures. Only the standard library.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape

from reporting.data import number

WIDTH = 840
LEFT, RIGHT = 150, 150  # room for names, and for figures
PLOT = WIDTH - LEFT - RIGHT
TOP, STEP, BAR = 84, 28, 16
LETTER = 7.2  # a letter's width at 12 px is this at most

STYLE = """
  .page { fill: #ffffff; stroke: #d0d7de; }
  .grid { stroke: #d8dee4; stroke-width: 1; }
  .ours { fill: #0969da; }
  .ours2 { fill: #80bfff; }
  .peer { fill: #8c959f; }
  .peer2 { fill: #d0d7de; }
  .limit, .limit2 { fill: none; stroke: #8c959f; stroke-width: 1.5; stroke-dasharray: 4 3; }
  .aim { stroke: #bc4c00; stroke-width: 1.5; stroke-dasharray: 5 3; }
  .line { fill: none; stroke-width: 2; }
  .l0 { stroke: #0969da; } .l1 { stroke: #8250df; } .l2 { stroke: #1a7f37; }
  .l3 { stroke: #bc4c00; } .l4 { stroke: #57606a; } .l5 { stroke: #bf3989; }
  .d0 { fill: #0969da; } .d1 { fill: #8250df; } .d2 { fill: #1a7f37; }
  .d3 { fill: #bc4c00; } .d4 { fill: #57606a; } .d5 { fill: #bf3989; }
  text { font-family: system-ui, sans-serif; font-size: 12px; fill: #1f2328; }
  .title { font-size: 15px; font-weight: 600; }
  .soft { fill: #57606a; }
  .end { text-anchor: end; }
  .mid { text-anchor: middle; }
  .strong { font-weight: 600; }
  .figure { paint-order: stroke; stroke: #ffffff; stroke-width: 4; stroke-linejoin: round; }
  .break { stroke: #ffffff; stroke-width: 3; }
  @media (prefers-color-scheme: dark) {
    .page { fill: #0d1117; stroke: #30363d; }
    .grid { stroke: #262c34; }
    .ours { fill: #4493f8; }
    .ours2 { fill: #1f4f8f; }
    .peer { fill: #7d8590; }
    .peer2 { fill: #3d444d; }
    .limit, .limit2 { stroke: #7d8590; }
    .aim { stroke: #f0883e; }
    .l0 { stroke: #4493f8; } .l1 { stroke: #ab7df8; } .l2 { stroke: #3fb950; }
    .l3 { stroke: #f0883e; } .l4 { stroke: #9198a1; } .l5 { stroke: #f778ba; }
    .d0 { fill: #4493f8; } .d1 { fill: #ab7df8; } .d2 { fill: #3fb950; }
    .d3 { fill: #f0883e; } .d4 { fill: #9198a1; } .d5 { fill: #f778ba; }
    text { fill: #e6edf3; }
    .soft { fill: #9198a1; }
    .figure { stroke: #0d1117; }
    .break { stroke: #0d1117; }
  }
"""


@dataclass(frozen=True)
class Bar:
    """A line of a chart: a name, its figures, what they are called, or why there are none."""

    name: str
    kind: str  # ours, peer or limit
    values: tuple[float, ...] = ()
    text: str = ""
    why: str = ""


@dataclass
class Picture:
    """Elements with the texts above them, and how high they are together."""

    title: str
    subtitle: str
    height: float = TOP
    parts: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    def text(self, x: float, y: float, text: str, kinds: str = "") -> None:
        kind = f' class="{kinds}"' if kinds else ""
        self.texts.append(f'<text{kind} x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>')

    def box(self, x: float, y: float, width: float, kind: str, height: float = BAR) -> None:
        self.parts.append(
            f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{max(width, 1):.1f}"'
            f' height="{height:g}" rx="2"/>'
        )

    def line(self, x1: float, y1: float, x2: float, y2: float, kind: str) -> None:
        self.parts.append(
            f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'
        )

    def dot(self, x: float, y: float, kind: str, radius: float = 5) -> None:
        self.parts.append(f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}"/>')

    def finish(self) -> str:
        height = math.ceil(self.height)
        head = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}"'
            f' width="{WIDTH}" height="{height}" role="img" aria-labelledby="t">',
            f'<title id="t">{escape(self.title)}</title>',
            f"<style>{STYLE}</style>",
            f'<rect class="page" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}"'
            ' rx="10"/>',
            f'<text class="title" x="20" y="30">{escape(self.title)}</text>',
            f'<text class="soft" x="20" y="50">{escape(self.subtitle)}</text>',
        ]
        return "\n".join([*head, *self.parts, *self.texts, "</svg>"]) + "\n"


def short(value: float) -> str:
    """A tick: 0.1, 10, 1k, 1M."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


@dataclass(frozen=True)
class Scale:
    """Values to places between two ends; the logarithmic one has no place below its least."""

    least: float
    most: float
    log: bool
    start: float = LEFT
    span: float = PLOT

    def at(self, value: float) -> float:
        if self.log:
            value = math.log10(max(value, self.least) / self.least)
            share = value / math.log10(self.most / self.least)
        else:
            share = (value - self.least) / (self.most - self.least)
        return self.start + self.span * min(max(share, 0.0), 1.0)

    def ticks(self) -> list[float]:
        if self.log:
            first, last = math.floor(math.log10(self.least)), math.ceil(math.log10(self.most))
            steps = (1, 2, 5) if last - first < 3 else (1,)
            found = [step * 10.0**power for power in range(first, last + 1) for step in steps]
            return [tick for tick in found if self.least * 0.999 <= tick <= self.most * 1.001]
        step = nice((self.most - self.least) / 5)
        count = int((self.most - self.least) / step + 1e-9)
        return [self.least + step * index for index in range(count + 1)]


def nice(value: float) -> float:
    """The next of 1, 2, 5, 10, 20 … from there."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(power * step for step in (1, 2, 5, 10) if power * step >= value * 0.999)


def log_scale(values: Iterable[float]) -> Scale:
    """From a decade at or below the least, which still has some length, to the most."""
    held = [value for value in values if value > 0] or [1.0]
    least = 10.0 ** math.floor(math.log10(min(held) * 0.7))
    return Scale(least, max(held) * 1.02, log=True)


def linear_scale(values: Iterable[float]) -> Scale:
    """From 0 to the most."""
    return Scale(0.0, max([value for value in values if value > 0] or [1.0]) * 1.02, log=False)


def draw_grid(picture: Picture, scale: Scale, rows: int) -> None:
    bottom = TOP + rows * STEP
    for tick in scale.ticks():
        x = scale.at(tick)
        picture.line(x, TOP - 6, x, bottom, "grid")
        picture.text(x, TOP - 12, short(tick), "soft mid")
    picture.height = bottom + 14


def draw_name(picture: Picture, bar: Bar, row: int) -> float:
    """The name at the left; the bar's top."""
    top = TOP + row * STEP + (STEP - BAR) / 2
    strong = " strong" if bar.kind == "ours" else ""
    picture.text(LEFT - 10, top + 12.5, bar.name, "end" + strong)
    return top


def draw_why(picture: Picture, bar: Bar, top: float) -> None:
    room = int((WIDTH - LEFT - 20) / LETTER)
    text = f"not measured: {bar.why.rstrip(': ')}"
    picture.text(
        LEFT + 6, top + 12.5, text if len(text) <= room else text[: room - 1] + "…", "soft"
    )


def bars(
    title: str, subtitle: str, lines: Sequence[Bar], *, log: bool, aim: float | None = None
) -> str:
    """One bar a line. An aim is a line across."""
    picture = Picture(title, subtitle)
    values = [bar.values[0] for bar in lines if bar.values]
    scale = (log_scale if log else linear_scale)([*values, *([aim] if aim else [])])
    draw_grid(picture, scale, len(lines))
    for row, bar in enumerate(lines):
        top = draw_name(picture, bar, row)
        if not bar.values:
            draw_why(picture, bar, top)
            continue
        end = scale.at(bar.values[0])
        picture.box(LEFT, top, end - LEFT, bar.kind)
        picture.text(end + 8, top + 12.5, bar.text or number(bar.values[0]), "figure")
    if aim:
        x = scale.at(aim)
        shown = sum(bool(bar.values) for bar in lines)
        picture.line(x, TOP - 6, x, TOP + shown * STEP, "aim")
        picture.text(x, TOP + len(lines) * STEP + 12, f"aim: {aim:,g}", "soft mid")
        picture.height += 12
    return picture.finish()


def parted(
    title: str, subtitle: str, lines: Sequence[Bar], names: tuple[str, str], most: float
) -> str:
    """Bars of two parts on a linear scale, cut where they are longer than `most`."""
    picture = Picture(title, subtitle)
    scale = linear_scale(min(sum(bar.values), most) for bar in lines if bar.values)
    draw_grid(picture, scale, len(lines))
    for row, bar in enumerate(lines):
        top = draw_name(picture, bar, row)
        if not bar.values:
            draw_why(picture, bar, top)
            continue
        middle, end = scale.at(bar.values[0]), scale.at(sum(bar.values))
        picture.box(LEFT, top, middle - LEFT, bar.kind)
        if end > middle:
            picture.box(middle, top, end - middle, bar.kind + "2")
        if sum(bar.values) > scale.most:
            picture.line(end - 18, top + BAR + 2, end - 10, top - 2, "break")
            picture.line(end - 12, top + BAR + 2, end - 4, top - 2, "break")
        picture.text(end + 8, top + 12.5, bar.text, "figure")
    x: float = WIDTH - 20 - sum(26 + LETTER * len(name) for name in names)
    for name, suffix in zip(names, ("", "2"), strict=True):
        picture.box(x, 40, 7, "ours" + suffix, 11)
        picture.box(x + 8, 40, 7, "peer" + suffix, 11)
        picture.text(x + 20, 50, name, "soft")
        x += 26 + LETTER * len(name)
    return picture.finish()


def spans(title: str, subtitle: str, lines: Sequence[Bar], *, least: float) -> str:
    """From a first figure to a second one on a logarithmic scale that begins at `least` at most."""
    picture = Picture(title, subtitle)
    scale = log_scale(max(value, least * 1.5) for bar in lines for value in bar.values)
    draw_grid(picture, scale, len(lines))
    for row, bar in enumerate(lines):
        top = draw_name(picture, bar, row)
        if not bar.values:
            draw_why(picture, bar, top)
            continue
        first, second = (scale.at(value) for value in bar.values)
        picture.box(first, top + 5.5, second - first, bar.kind, 5)
        picture.dot(first, top + 8, bar.kind)
        picture.dot(second, top + 8, bar.kind)
        picture.text(second + 12, top + 12.5, bar.text, "figure")
    return picture.finish()
