"""Small SVG charts for a report: bars with intervals, dots by slice, lines by cut-off, sorted differences.

Every function returns one `<svg>` whose colors are CSS variables of the page (`--s0`, `--ink`, `--faint`, `--grid`), so it
follows light and dark. All text is escaped here; hovering shows the exact numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

COLORS = 8
WIDTH = 350
LEFT, RIGHT = 104, 54


@dataclass(frozen=True)
class Bar:
    """One mark: what it is called, its value and interval (NaN for none), which series color it has, and hover text."""

    label: str
    value: float
    low: float
    high: float
    series: int = 0
    text: str = ""
    hover: str = ""


@dataclass(frozen=True)
class Line:
    """One series of a line chart."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    series: int = 0


def color(series: int) -> str:
    return f"var(--s{series % COLORS})"


def clip(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers that cover low..high."""
    span = high - low
    if not (math.isfinite(span) and span > 0):
        return [low]
    raw = span / most
    power = 10 ** math.floor(math.log10(raw))
    step = next(s for s in (power, 2 * power, 2.5 * power, 5 * power, 10 * power) if s >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 12) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def number(value: float) -> str:
    """An axis label: .05, 0, 10, 1,000."""
    text = f"{value:,.6g}" if abs(value) < 1000 else f"{value:,.0f}"
    return text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text


def bars(rows: Sequence[Bar], *, title: str) -> str:
    """Horizontal bars from 0 with interval whiskers, one row each."""
    pitch, top = 26, 4
    reach = max(
        [b.high if b.high == b.high else b.value for b in rows] + [b.value for b in rows if b.value == b.value] + [0.0]
    )
    reach = reach or 1.0
    room = WIDTH - LEFT - RIGHT

    def at(value: float) -> float:
        return LEFT + room * max(0.0, min(1.0, value / reach))

    parts = [f'<line class="axis" x1="{LEFT}" x2="{LEFT}" y1="0" y2="{top + pitch * len(rows)}"/>']
    for i, b in enumerate(rows):
        y = top + i * pitch
        middle = y + pitch / 2 - 1
        parts.append(f"<g><title>{escape(b.hover or b.label)}</title>")
        parts.append(f'<text x="{LEFT - 8}" y="{middle + 4}" text-anchor="end">{escape(clip(b.label, 15))}</text>')
        if b.value == b.value:
            wide = max(0.5, at(b.value) - LEFT)
            parts.append(
                f'<rect x="{LEFT}" y="{y + 4}" width="{wide:.1f}" height="{pitch - 10}" rx="2" fill="{color(b.series)}" opacity=".82"/>'
            )
        if b.low == b.low:
            parts.append(_whisker(at(b.low), at(b.high), middle))
        end = at(b.high if b.high == b.high else b.value)
        parts.append(f'<text class="value" x="{end + 7:.1f}" y="{middle + 4}">{escape(b.text)}</text></g>')
    return _svg(WIDTH, top * 2 + pitch * len(rows), title, parts)


def dots(groups: Sequence[tuple[str, str, Sequence[Bar]]], *, title: str, zero: bool = True) -> str:
    """Dots with intervals, the marks of a group under each other; groups are (label, note, marks)."""
    marks = [b for _, _, rows in groups for b in rows]
    known = [x for b in marks for x in (b.low, b.value, b.high) if x == x]
    low, high = (
        min([*known, *([0.0] if zero else [])], default=0.0),
        max([*known, *([0.0] if zero else [])], default=1.0),
    )
    if high <= low:
        high = low + 1.0
    pad = (high - low) * 0.04
    low, high = (low if zero and low == 0 else low - pad), high + pad
    room, step, gap = WIDTH - LEFT - RIGHT, 13, 9
    height = sum(max(1, len(rows)) * step + gap for _, _, rows in groups)

    def at(value: float) -> float:
        return LEFT + room * (value - low) / (high - low)

    parts = [_grid_x(at(t), height, number(t), strong=t == 0) for t in ticks(low, high)]
    y = gap / 2
    for label, note, rows in groups:
        block = max(1, len(rows)) * step
        middle = y + block / 2
        parts.append(
            f'<text x="{LEFT - 8}" y="{middle + 4:.1f}" text-anchor="end">{escape(clip(label, 15))}<title>{escape(label)}</title></text>'
        )
        parts.append(f'<text class="faint" x="{WIDTH - RIGHT + 8}" y="{middle + 4:.1f}">{escape(note)}</text>')
        for j, b in enumerate(rows):
            center = y + step * (j + 0.5)
            parts.append(f"<g><title>{escape(b.hover or b.label)}</title>")
            if b.low == b.low:
                parts.append(
                    f'<line x1="{at(b.low):.1f}" x2="{at(b.high):.1f}" y1="{center:.1f}" y2="{center:.1f}" stroke="{color(b.series)}" stroke-width="2" opacity=".55"/>'
                )
            if b.value == b.value:
                parts.append(f'<circle cx="{at(b.value):.1f}" cy="{center:.1f}" r="4" fill="{color(b.series)}"/>')
            parts.append("</g>")
        y += block + gap
    return _svg(WIDTH, height + 20, title, parts)


def lines(series: Sequence[Line], *, title: str) -> str:
    """Lines over a logarithmic x axis (cut-offs), y from 0."""
    height, left, right, bottom = 230, 40, 14, 26
    xs = sorted({x for s in series for x in s.x if x > 0})
    ys = [y for s in series for y in s.y if y == y]
    if not xs or not ys:
        return ""
    reach, first, last = (max(ys) or 1.0) * 1.05, math.log(xs[0]), math.log(xs[-1])

    def across(x: float) -> float:
        return left + (WIDTH - left - right) * ((math.log(x) - first) / (last - first) if last > first else 0.5)

    def up(y: float) -> float:
        return 8 + (height - 8 - bottom) * (1 - y / reach)

    parts = [_grid_y(up(t), left, WIDTH - right, number(t)) for t in ticks(0, reach)]
    shown: list[float] = []
    for x in xs:
        # Labels closer than a label's width would overlap.
        if not shown or across(x) - across(shown[-1]) > 26:
            parts.append(
                f'<text class="faint" x="{across(x):.1f}" y="{height - 8}" text-anchor="middle">{number(x)}</text>'
            )
            shown.append(x)
    for s in series:
        points = [(across(x), up(y)) for x, y in zip(s.x, s.y, strict=True) if x > 0 and y == y]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{color(s.series)}" stroke-width="2.2" stroke-linejoin="round"/>'
        )
        for (x, y), k, value in zip(points, s.x, s.y, strict=False):
            parts.append(
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{color(s.series)}"><title>{escape(s.label)} at {number(k)}: {value:.4f}</title></circle>'
            )
    return _svg(WIDTH, height, title, parts)


def differences(series: Sequence[Line], *, title: str) -> str:
    """Sorted per-request differences: x the share of requests, y the difference, filled to 0."""
    height, left, right, bottom = 230, 40, 14, 26
    ys = [y for s in series for y in s.y if y == y]
    if not ys:
        return ""
    low, high = min(0.0, *ys), max(0.0, *ys)
    if high <= low:
        low, high = -1.0, 1.0

    def across(x: float) -> float:
        return left + (WIDTH - left - right) * x

    def up(y: float) -> float:
        return 8 + (height - 8 - bottom) * (high - y) / (high - low)

    parts = [_grid_y(up(t), left, WIDTH - right, number(t), strong=t == 0) for t in ticks(low, high)]
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(
            f'<text class="faint" x="{across(share):.1f}" y="{height - 8}" text-anchor="middle">{share:.0%}</text>'
        )
    for s in series:
        points = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in zip(s.x, s.y, strict=True))
        if not points:
            continue
        parts.append(
            f'<polygon points="{across(s.x[0]):.1f},{up(0):.1f} {points} {across(s.x[-1]):.1f},{up(0):.1f}" fill="{color(s.series)}" opacity=".16"/>'
        )
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{color(s.series)}" stroke-width="2"><title>{escape(s.label)}</title></polyline>'
        )
    return _svg(WIDTH, height, title, parts)


def grid(rows: Sequence[str], columns: Sequence[str], values: Sequence[Sequence[float]], *, title: str) -> str:
    """A table of numbers in [0, 1], each cell the darker the larger, with its number in it."""
    left, top, tall = 110, 22, 34
    wide = (WIDTH - left) / max(len(columns), 1)
    most = max(int(wide / 6.5), 3)
    parts = [
        f'<text class="faint" x="{left + wide * (j + 0.5):.1f}" y="14" text-anchor="middle">{escape(clip(name, most))}</text>'
        for j, name in enumerate(columns)
    ]
    for i, (name, line) in enumerate(zip(rows, values, strict=True)):
        y = top + tall * i
        parts.append(
            f'<text x="{left - 8}" y="{y + tall / 2 + 4:.1f}" text-anchor="end">{escape(clip(name, 16))}</text>'
        )
        for j, value in enumerate(line):
            x = left + wide * j
            shade = 0.08 + 0.72 * max(0.0, min(1.0, value)) if value == value else 0.0
            parts.append(
                f'<rect x="{x + 1:.1f}" y="{y + 1}" width="{wide - 2:.1f}" height="{tall - 2}" rx="4" fill="{color(0)}" '
                f'opacity="{shade:.2f}"><title>{escape(name)}, {escape(columns[j])}: {value:.4f}</title></rect>'
                f'<text x="{x + wide / 2:.1f}" y="{y + tall / 2 + 4:.1f}" text-anchor="middle">'
                f"{number(round(value, 2)) if value == value else '-'}</text>"
            )
    return _svg(WIDTH, top + tall * len(rows) + 4, title, parts)


def forest(value: float, low: float, high: float, reach: float, series: int) -> str:
    """One row of a forest plot: an interval around a difference, on a scale of -reach to reach with 0 in the middle."""
    wide, tall = 150, 18

    def at(x: float) -> float:
        return wide / 2 * (1 + max(-1.0, min(1.0, x / (reach or 1.0))))

    parts = [f'<line class="axis" x1="{wide / 2}" x2="{wide / 2}" y1="0" y2="{tall}"/>']
    if low == low:
        parts.append(
            f'<line x1="{at(low):.1f}" x2="{at(high):.1f}" y1="9" y2="9" stroke="{color(series)}" stroke-width="2" opacity=".6"/>'
        )
    parts.append(f'<circle cx="{at(value):.1f}" cy="9" r="4" fill="{color(series)}"/>')
    return _svg(wide, tall, "difference with its interval", parts, fixed=True)


def _whisker(low: float, high: float, y: float) -> str:
    ends = "".join(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y - 4:.1f}" y2="{y + 4:.1f}"/>' for x in (low, high))
    return f'<g class="whisker"><line x1="{low:.1f}" x2="{high:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>{ends}</g>'


def _grid_x(x: float, height: float, label: str, *, strong: bool = False) -> str:
    kind = "axis" if strong else "grid"
    return (
        f'<line class="{kind}" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{height:.1f}"/>'
        f'<text class="faint" x="{x:.1f}" y="{height + 15:.1f}" text-anchor="middle">{label}</text>'
    )


def _grid_y(y: float, left: float, right: float, label: str, *, strong: bool = False) -> str:
    kind = "axis" if strong else "grid"
    return (
        f'<line class="{kind}" x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text class="faint" x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{label}</text>'
    )


def _svg(width: float, height: float, title: str, parts: Sequence[str], *, fixed: bool = False) -> str:
    size = f' width="{width}" height="{height:.0f}"' if fixed else ""
    return (
        f'<svg viewBox="0 0 {width} {height:.0f}"{size} role="img" aria-label="{escape(title)}">{"".join(parts)}</svg>'
    )
