"""A log-log line chart as a standalone SVG that follows light and dark: measured cost against size."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 380, 74, 190, 34, 46
COLORS = ("#2563eb", "#d97706", "#059669", "#db2777", "#7c3aed", "#0891b2", "#dc2626", "#65a30d", "#475569", "#a16207")
STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#1f2937}.faint{fill:#6b7280}.grid{stroke:#e5e7eb}"
    "rect{fill:#fff}@media(prefers-color-scheme:dark){text{fill:#e5e7eb}.faint{fill:#9ca3af}.grid{stroke:#374151}rect{fill:#111827}}"
)


def chart(title: str, x: str, y: str, series: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """One SVG; points that are not positive cannot stand on a logarithmic axis and are left out."""
    kept = {name: [(a, b) for a, b in points if a > 0 and b > 0] for name, points in series.items()}
    kept = {name: points for name, points in kept.items() if points}
    xs = [a for points in kept.values() for a, _ in points]
    ys = [b for points in kept.values() for _, b in points]
    across, up = _axis(min(xs), max(xs)), _axis(min(ys), max(ys))
    parts = [
        f'<rect width="{WIDTH}" height="{HEIGHT}"/>',
        f'<text x="{LEFT}" y="18" font-weight="600">{escape(title)}</text>',
    ]
    for power in range(across[0], across[1] + 1):
        at = _place(10.0**power, across, LEFT, WIDTH - RIGHT)
        parts.append(f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
        parts.append(
            f'<text class="faint" x="{at:.1f}" y="{HEIGHT - BOTTOM + 17}" text-anchor="middle">{_power(power)}</text>'
        )
    for power in range(up[0], up[1] + 1):
        at = _place(10.0**power, up, HEIGHT - BOTTOM, TOP)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(f'<text class="faint" x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{_power(power)}</text>')
    taken: list[float] = []
    for number, (name, points) in enumerate(sorted(kept.items(), key=lambda item: -item[1][-1][1])):
        color = COLORS[number % len(COLORS)]
        places = [(_place(a, across, LEFT, WIDTH - RIGHT), _place(b, up, HEIGHT - BOTTOM, TOP)) for a, b in points]
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in places)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>')
        for (a, b), (value_x, value_y) in zip(places, points, strict=True):
            told = escape(f"{name}: {value_x:,.4g} -> {value_y:,.4g}")
            parts.append(f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3.5" fill="{color}"><title>{told}</title></circle>')
        height = places[-1][1] + 4
        while any(abs(height - other) < 14 for other in taken):  # labels do not overlap
            height += 14
        taken.append(height)
        parts.append(f'<text x="{WIDTH - RIGHT + 10}" y="{height:.1f}" style="fill:{color}">{escape(name)}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text class="faint" x="{middle}" y="{HEIGHT - 8}" text-anchor="middle">{escape(x)}</text>')
    parts.append(
        f'<text class="faint" transform="translate(16,{(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)" text-anchor="middle">{escape(y)}</text>'
    )
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">'
    return f"{head}<style>{STYLE}</style>{''.join(parts)}</svg>\n"


def _axis(low: float, high: float) -> tuple[int, int]:
    first, last = math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(high) - 1e-9)
    return first, max(last, first + 1)


def _place(value: float, axis: tuple[int, int], start: float, stop: float) -> float:
    return start + (stop - start) * (math.log10(value) - axis[0]) / (axis[1] - axis[0])


def _power(power: int) -> str:
    if -3 <= power <= 3:
        return f"{10.0**power:g}" if power < 0 else f"{10**power:,}"
    return "10" + "".join("⁻⁰¹²³⁴⁵⁶⁷⁸⁹"[0 if c == "-" else int(c) + 1] for c in str(power))
