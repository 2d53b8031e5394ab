"""Curves as SVG: how a figure moves along an axis, one line a series."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from reporting.data import number
from reporting.svg import WIDTH, Picture, Scale, linear_scale, short

LEFT, TOP, HEIGHT = 64, 76, 260
LETTER = 6.9  # a letter's width in a label, on average
GAP = 15  # between the labels at the lines' ends
SHADES = 6


@dataclass(frozen=True)
class Curve:
    """A series of (x, y), x rising."""

    name: str
    points: tuple[tuple[float, float], ...]


def x_places(values: list[float], width: float) -> dict[float, float]:
    """Places by the logarithm; 0 stands a decade before the least of the others."""
    above = [value for value in values if value > 0]
    least = min(above)
    logs = {value: math.log10(value) if value > 0 else math.log10(least) - 1 for value in values}
    first, last = min(logs.values()), max(logs.values())
    return {
        value: LEFT + width * ((log - first) / (last - first) if last > first else 0.5)
        for value, log in logs.items()
    }


def spread_labels(wanted: list[float], least: float, most: float) -> list[float]:
    """Places near the wanted ones, in the same order, a gap apart, inside the bounds."""
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    placed = [0.0] * len(wanted)
    before = least - GAP
    for index in order:
        placed[index] = before = max(wanted[index], before + GAP)
    after = most + GAP
    for index in reversed(order):
        placed[index] = after = min(placed[index], after - GAP)
    return placed


def draw_axes(
    picture: Picture, scale: Scale, places: dict[float, float], right: float, x_name: str
) -> None:
    bottom = TOP + HEIGHT
    for tick in scale.ticks():
        y = height_of(scale, tick)
        picture.line(LEFT, y, right, y, "grid")
        picture.text(LEFT - 8, y + 4, short(tick), "soft end")
    taken = -math.inf
    for value, x in sorted(places.items()):
        picture.line(x, bottom, x, bottom + 4, "grid")
        if x - taken > 34:
            picture.text(x, bottom + 18, short(value), "soft mid")
            taken = x
    picture.text((LEFT + right) / 2, bottom + 38, x_name, "soft mid")
    picture.height = bottom + 52


def height_of(scale: Scale, value: float) -> float:
    """Up is more."""
    return TOP + HEIGHT - (scale.at(value) - scale.start)


def draw_curve(
    picture: Picture, scale: Scale, places: dict[float, float], curve: Curve, shade: int
) -> None:
    spots = [(places[x], height_of(scale, y)) for x, y in curve.points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
    picture.parts.append(f'<polyline class="line l{shade}" points="{path}"/>')
    for x, y in spots:
        picture.dot(x, y, f"d{shade}", 3.5)


def curves(title: str, subtitle: str, x_name: str, series: Sequence[Curve]) -> str:
    """Lines over a logarithmic axis; each line's name and last figure stand at its end."""
    picture = Picture(title, subtitle)
    names = [f"{curve.name}: {number(curve.points[-1][1])}" for curve in series]
    right = WIDTH - 36 - LETTER * max(map(len, names))
    held = linear_scale(y for curve in series for _, y in curve.points)
    scale = Scale(held.least, held.most, log=False, start=0, span=HEIGHT)
    places = x_places(sorted({x for curve in series for x, _ in curve.points}), right - LEFT)
    draw_axes(picture, scale, places, right, x_name)
    ends = [height_of(scale, curve.points[-1][1]) for curve in series]
    labels = spread_labels(ends, TOP + 4, TOP + HEIGHT)
    for index, curve in enumerate(series):
        shade = index % SHADES
        draw_curve(picture, scale, places, curve, shade)
        last = places[curve.points[-1][0]]
        picture.line(last + 5, ends[index], right + 12, labels[index], "grid")
        picture.text(right + 16, labels[index] + 4, names[index], f"d{shade}")
    return picture.finish()
