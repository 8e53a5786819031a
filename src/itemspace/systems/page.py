"""`docs/systems.md`, generated: `python -m itemspace.systems.page docs/systems.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from itemspace.systems.registry import Row, listing

UP = "../"
"""From `docs/` to the root of the source tree."""
_PLACES = (("positive", "positive world"), ("null", "null world"), ("real", "real data"))


def systems_page(rows: Sequence[Row]) -> str:
    """The gallery as Markdown: systems by family, each one click from its source, then what was measured of each."""
    return "\n".join(_lines(rows)) + "\n"


def _lines(rows: Sequence[Row]) -> Iterator[str]:
    yield "# Systems"
    yield ""
    yield "Generated from the findings in `docs/findings`; edit those by measuring again, never this page."
    yield ""
    yield f"{_counted(rows)}; {len(rows)} in all."
    yield ""
    yield "A verdict is computed from per-seed values and a least effect stated beforehand (`itemspace.evaluate.claims`). A"
    yield "comparison counts on real data only after it held in a positive world and did not hold in a null world. A stale"
    yield "finding was measured with code that has changed since."
    families = list(dict.fromkeys(row.family for row in sorted(rows, key=lambda row: row.family)))
    yield ""
    yield "| family | systems | built | claims held on real data |"
    yield "|---|---|---|---|"
    for family in families:
        mine = [row for row in rows if row.family == family]
        built = sum(row.state != "not built" for row in mine)
        verdicts = [verdict for row in mine for verdict in row.verdicts]
        held = f"{sum(v.startswith('held') for v in verdicts)} of {len(verdicts)}" if verdicts else ""
        yield f"| [{_words(family)}](#{_anchor(family)}) | {len(mine)} | {built} | {held} |"
    for family in families:
        mine = [row for row in rows if row.family == family]
        yield ""
        yield f"## {_words(family)}"
        yield ""
        yield f"{_counted(mine)}."
        yield ""
        yield "| n | system | state | source | measured on | claims on real data |"
        yield "|---|---|---|---|---|---|"
        for row in mine:
            yield _row(row)
    for row in rows:
        if row.finding:
            yield ""
            yield from _section(row, row.finding)


def _row(row: Row) -> str:
    name = f"[{row.slug}](#{row.slug})" if row.finding else row.slug
    source = f"[{row.slug}.py]({UP}{row.source})" if row.source else ""
    measured = (
        ""
        if row.finding is None
        else f"{', '.join(_real_data(row.finding)) or 'worlds only'}; {row.finding['measured']}"
    )
    told = [verdict.split(" (")[0] for verdict in row.verdicts]
    counts = ", ".join(f"{told.count(verdict)} {verdict}" for verdict in dict.fromkeys(told))
    return f"| {row.n} | {name}: {_cell(row.title)} | {row.state} | {source} | {measured} | {counts} |"


def _real_data(finding: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys(one["name"] for one in finding["places"].get("real", {}).get("data", ())))


def _counted(rows: Sequence[Row]) -> str:
    counts: dict[str, int] = {}
    for row in rows:
        counts[row.state] = counts.get(row.state, 0) + 1
    return "; ".join(f"{count} {state}" for state, count in sorted(counts.items()))


def _words(family: str) -> str:
    return family.replace("_", " ")


def _anchor(family: str) -> str:
    return family.replace("_", "-")


def gallery_rows(findings: Path | None = None) -> list[dict[str, Any]]:
    """Every system as plain JSON values, for whoever shows the gallery (`/v1/systems`).

    n, slug, title, family, state; verdicts: on real data, one per claim, in order; source: the file's path in the
    package, None where there is no file yet; finding, where one was kept: date, code,
    machine, every claim with its verdict per place, and per place the data, seeds, seconds and notes.
    """
    return [_json_row(row) for row in listing(findings)]


def _json_row(row: Row) -> dict[str, Any]:
    made: dict[str, Any] = {
        "n": row.n,
        "slug": row.slug,
        "title": row.title,
        "family": row.family,
        "state": row.state,
        "verdicts": list(row.verdicts),
        "source": None if row.source is None else row.source.removeprefix("src/itemspace/"),
    }
    if row.finding is not None:
        kept = {name: row.finding[name] for name in ("measured", "year", "code", "claims", "hardware")}
        places = {
            place: {name: found[name] for name in ("data", "seeds", "seconds", "notes")}
            for place, found in row.finding["places"].items()
        }
        made["finding"] = {**kept, "stale": row.state == "stale", "places": places}
    return made


def _section(row: Row, finding: Mapping[str, Any]) -> Iterator[str]:
    yield f"### {row.slug}"
    yield ""
    stale = " **Stale: the code has changed since.**" if row.state == "stale" else ""
    source = f" Source: [{row.source}]({UP}{row.source})." if row.source else ""
    yield f"{row.title} ({finding['year']}). Measured {finding['measured']}, code `{finding['code']}`.{source}{stale}"
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
