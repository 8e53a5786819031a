"""`docs/systems.md`, generated: `python -m itemspace.systems.page docs/systems.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from itemspace.systems.registry import Row, listing

_PLACES = (("positive", "positive world"), ("null", "null world"), ("real", "real data"))


def systems_page(rows: Sequence[Row]) -> str:
    """The gallery as Markdown: one table of all systems, then what was measured of each."""
    return "\n".join(_lines(rows)) + "\n"


def _lines(rows: Sequence[Row]) -> Iterator[str]:
    counts: dict[str, int] = {}
    for row in rows:
        counts[row.state] = counts.get(row.state, 0) + 1
    yield "# Systems"
    yield ""
    yield "Generated from the findings in `docs/findings`; edit those by measuring again, never this page."
    yield ""
    yield "; ".join(f"{count} {state}" for state, count in sorted(counts.items())) + f"; {len(rows)} in all."
    yield ""
    yield "A verdict is computed from per-seed values and a least effect stated beforehand (`itemspace.evaluate.claims`). A"
    yield "comparison counts on real data only after it held in a positive world and did not hold in a null world. A stale"
    yield "finding was measured with code that has changed since."
    yield ""
    yield "| n | system | family | state | on real data |"
    yield "|---|---|---|---|---|"
    for row in rows:
        name = f"[{row.slug}](#{row.slug})" if row.finding else row.slug
        told = ", ".join(verdict.split(" (")[0] for verdict in row.verdicts)
        yield f"| {row.n} | {name}: {_cell(row.title)} | {row.family} | {row.state} | {told} |"
    for row in rows:
        if row.finding:
            yield ""
            yield from _section(row, row.finding)


def _section(row: Row, finding: Mapping[str, Any]) -> Iterator[str]:
    yield f"## {row.slug}"
    yield ""
    stale = " **Stale: the code has changed since.**" if row.state == "stale" else ""
    yield f"{row.title} ({finding['year']}). Measured {finding['measured']}, code `{finding['code']}`.{stale}"
    yield ""
    yield "| claim | asked | " + " | ".join(name for _, name in _PLACES) + " | counts |"
    yield "|---|---|---|---|---|---|"
    for claim in finding["claims"]:
        cells = [told(claim["places"].get(place)) for place, _ in _PLACES]
        counts = "yes" if claim["state"] == "result" else claim["state"]
        yield f"| {_cell(claim['text'])} | {_cell(claim['bar'])} | {' | '.join(cells)} | {counts} |"
    for place, name in _PLACES:
        if place in finding["places"]:
            yield ""
            yield from _place(name, finding["places"][place])
    machine = finding["hardware"]
    yield ""
    yield f"Machine: {machine.get('processor')}, {machine.get('cores')} cores. " + ", ".join(
        f"{name} {version}" for name, version in finding["versions"].items()
    )


def _place(name: str, place: Mapping[str, Any]) -> Iterator[str]:
    data = ", ".join(f"{d['name']} ({d['items']:,} items, `{d['data']}`)" for d in place["data"]) or "no data"
    yield f"**{name[0].upper()}{name[1:]}**: {data}; seeds {', '.join(map(str, place['seeds']))}; {place['seconds']:g} s."
    for note in place["notes"]:
        yield f"{note}"
    if not place["values"]:
        return
    metrics = list(dict.fromkeys(metric for values in place["values"].values() for metric in values))
    yield ""
    yield "| arm | " + " | ".join(metrics) + " | spent |"
    yield "|" + "---|" * (len(metrics) + 2)
    for arm, values in place["values"].items():
        cells = [_mean(values.get(metric)) for metric in metrics]
        spent = ", ".join(f"{what} {amount:.4g}" for what, amount in place["budget"]["spent"].get(arm, {}).items())
        yield f"| {arm} | {' | '.join(cells)} | {spent} |"


def told(finding: Mapping[str, Any] | None) -> str:
    if finding is None:
        return ""
    if finding["verdict"] == "not measured":
        return f"not measured ({_cell(finding['why'])})"
    why = f"; {_cell(finding['why'])}" if finding.get("why") else ""
    return f"{finding['verdict']} ({finding['mean']:.4f}, {finding['low']:.4f} to {finding['high']:.4f}{why})"


def _mean(values: Sequence[float | None] | None) -> str:
    real = [value for value in values or () if value is not None]
    return f"{sum(real) / len(real):.4f}" if real else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def write_page(path: str | Path, findings: Path | None = None) -> None:
    """Write the page from the findings there are."""
    Path(path).write_text(systems_page(listing(findings)), encoding="utf-8")


if __name__ == "__main__":
    write_page(sys.argv[1] if len(sys.argv) > 1 else "docs/systems.md")
