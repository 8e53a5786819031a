"""A `Report` as one HTML page: no network, no script, light and dark; everything printed is escaped."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from itemspace.core.charts import Bar, Line, bars, color, differences, dots, forest, grid, lines
from itemspace.core.report import ALL, Comparison, Measure, Report, decimal, p_value, signed

CARDS = 8

STYLE = """
:root { color-scheme: light dark; --page:#fbfaf8; --card:#fff; --ink:#1d2126; --faint:#68707a; --grid:#e9e7e2; --line:#b9bcc2;
  --edge:#e6e3dd; --good:#1c7c4a; --bad:#b3372f; --warn:#8a5a00; --warnback:#fff4dc;
  --s0:#3566b0; --s1:#d0702a; --s2:#2e8b66; --s3:#b0406a; --s4:#7657ad; --s5:#94811f; --s6:#2c94a6; --s7:#777d86; }
@media (prefers-color-scheme: dark) { :root { --page:#14171b; --card:#1c2026; --ink:#e7e9ec; --faint:#9aa3ad; --grid:#2b3038;
  --line:#565d67; --edge:#2c323a; --good:#6fce9c; --bad:#f08f86; --warn:#f0c36a; --warnback:#33290f;
  --s0:#7ba7ea; --s1:#f0995a; --s2:#63c79c; --s3:#e483a8; --s4:#b196e6; --s5:#d1be56; --s6:#66c7d8; --s7:#a3aab4; } }
* { box-sizing: border-box }
body { margin:0; background:var(--page); color:var(--ink); font:15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif }
main { max-width: 1120px; margin: 0 auto; padding: 36px 22px 64px }
h1 { font-size: 26px; line-height: 1.2; margin: 0 0 8px; letter-spacing: -.01em; overflow-wrap: anywhere }
h2 { font-size: 18px; margin: 40px 0 4px }
h3 { font-size: 14px; margin: 0 0 8px; font-weight: 600 }
p { margin: 4px 0 12px; max-width: 76ch }
.lead { font-size: 17px } .faint { color: var(--faint) }
.cards { display:grid; gap:14px; grid-template-columns: repeat(auto-fill, minmax(330px, 1fr)); margin-top: 12px }
.card { background:var(--card); border:1px solid var(--edge); border-radius:10px; padding:14px 16px; min-width:0 }
.wide { grid-template-columns: repeat(auto-fit, minmax(400px, 1fr)) } .wide .card { max-width: 640px } .wide svg { max-width: 460px }
.legend { display:flex; flex-wrap:wrap; gap:6px 18px; margin:14px 0 0; padding:0; list-style:none }
.legend i { display:inline-block; width:11px; height:11px; border-radius:3px; margin-right:7px }
.note { background:var(--warnback); border-left:3px solid var(--warn); padding:9px 14px; border-radius:4px; margin:10px 0; max-width:90ch }
svg { width:100%; height:auto; display:block; overflow:visible } svg[width] { width:auto }
svg text { font-size:12px; fill:var(--ink) } svg text.faint { fill:var(--faint); font-size:11px }
svg text.value { font-variant-numeric: tabular-nums; font-weight:600 }
svg .grid { stroke:var(--grid) } svg .axis { stroke:var(--line) } svg .whisker line { stroke:var(--ink); stroke-width:1.2; opacity:.75 }
.scroll { overflow-x:auto } table { border-collapse:collapse; width:100%; font-size:14px }
th { text-align:left; font-weight:600; color:var(--faint); font-size:12.5px } th, td { padding:6px 12px 6px 0; border-bottom:1px solid var(--edge); vertical-align:middle; white-space:nowrap }
td.n, th.n { text-align:right; font-variant-numeric: tabular-nums } td small { color:var(--faint) } .sure { color:var(--good); font-weight:600 } .worse { color:var(--bad); font-weight:600 }
details { margin-top:14px } summary { cursor:pointer; color:var(--faint) } summary:hover { color:var(--ink) }
dl { display:grid; grid-template-columns:max-content 1fr; gap:4px 18px; margin:8px 0; font-size:14px } dt { color:var(--faint) } dd { margin:0; overflow-wrap:anywhere }
@media (max-width: 600px) { main { padding:22px 14px } .cards { grid-template-columns: 1fr } .wide { grid-template-columns: 1fr } }
@media print { .card { break-inside: avoid } }
"""


def page(report: Report) -> str:
    """The whole page as text."""
    arms = {arm: i for i, arm in enumerate(report.arms)}
    body = [
        f"<h1>{escape(report.title)}</h1>",
        f'<p class="lead">{escape(report.headline)}</p>' if report.headline else "",
        _legend(arms),
        *(f'<div class="note">{escape(note)}</div>' for note in report.notes),
        _overview(report, arms),
        _comparisons(report, arms),
        _plots(report, arms),
        _grids(report),
        _slices(report, arms),
        _numbers(report),
        _provenance(report.provenance),
    ]
    head = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{escape(report.title)}</title><style>{STYLE}</style></head>"
    )
    return f"{head}<body><main>{''.join(body)}</main></body></html>\n"


def _legend(arms: Mapping[str, int]) -> str:
    if len(arms) < 2:
        return ""
    items = "".join(f'<li><i style="background:{color(i)}"></i>{escape(arm)}</li>' for arm, i in arms.items())
    return f'<ul class="legend">{items}</ul>'


def _bar(m: Measure, series: int, label: str) -> Bar:
    interval = "" if math.isnan(m.low) else f" [{decimal(m.low)}, {decimal(m.high)}]"
    seeds = f", {len(m.seeds)} seeds: {', '.join(decimal(s) for s in m.seeds)}" if len(m.seeds) > 1 else ""
    return Bar(
        label,
        m.value,
        m.low,
        m.high,
        series,
        decimal(m.value),
        f"{m.arm}, {m.metric}: {decimal(m.value)}{interval}, n {m.n:,}{seeds}",
    )


def _overview(report: Report, arms: Mapping[str, int]) -> str:
    cards = []
    for metric in report.metrics[:CARDS]:
        rows = [m for m in report.measures if m.metric == metric and m.slice == ALL]
        if rows:
            drawn = bars([_bar(m, arms[m.arm], m.arm) for m in rows], title=f"{metric} by arm")
            cards.append(f'<section class="card"><h3>{escape(metric)}</h3>{drawn}</section>')
    if not cards:
        return ""
    text = "Whiskers are 95% bootstrap intervals over requests (and seeds). Hover for exact numbers."
    return f'<h2>Results</h2><p class="faint">{text}</p><div class="cards">{"".join(cards)}</div>'


def _comparisons(report: Report, arms: Mapping[str, int]) -> str:
    rows = [c for c in report.comparisons if c.slice == ALL and c.metric in report.metrics[:CARDS]]
    if not rows:
        return ""
    reach = {
        m: max((max(abs(c.low), abs(c.high)) for c in rows if c.metric == m and not math.isnan(c.low)), default=1.0)
        for m in report.metrics
    }
    lines_ = [_comparison(c, reach[c.metric], arms) for c in rows]
    head = "<tr><th>arm<th>metric<th class=n>difference<th><th class=n>95% interval<th class=n>p<th class=n>p, corrected<th class=n>better / worse</tr>"
    text = "Paired over the same requests; p by randomization, corrected for the number of arms (Holm)."
    return (
        f"<h2>Against {escape(rows[0].baseline)}</h2>"
        f'<p class="faint">{text}</p><div class="card scroll"><table>{head}{"".join(lines_)}</table></div>'
    )


def _comparison(c: Comparison, reach: float, arms: Mapping[str, int]) -> str:
    sure = ' class="n"' if not c.significant else ' class="n sure"' if c.difference > 0 else ' class="n worse"'
    return (
        f"<tr><td>{escape(c.arm)}<td>{escape(c.metric)}<td{sure}>{signed(c.difference)}"
        f"<td>{forest(c.difference, c.low, c.high, reach, arms.get(c.arm, 0))}"
        f"<td class=n>[{decimal(c.low)}, {decimal(c.high)}]<td class=n>{escape(p_value(c.p_permutation))}"
        f"<td class=n>{escape(p_value(c.p_holm))}<td class=n>{c.wins:,} / {c.losses:,}</tr>"
    )


def _plots(report: Report, arms: Mapping[str, int]) -> str:
    cards = []
    for name in dict.fromkeys(c.name for c in report.curves):
        series = [
            Line(c.arm, c.x, c.y, arms.get(c.arm, i))
            for i, c in enumerate(c for c in report.curves if c.name == name and c.x)
        ]
        if not series:
            continue
        spread = name.startswith("difference")
        drawn = (differences if spread else lines)(series, title=name)
        axis = name.partition(" by ")[2] or next(c.axis for c in report.curves if c.name == name)
        about = "requests, from the most harmed to the most helped" if spread else f"{axis}, logarithmic"
        cards.append(f'<section class="card"><h3>{escape(name)}</h3>{drawn}<div class="faint">{about}</div></section>')
    return f'<h2>Shapes</h2><div class="cards wide">{"".join(cards)}</div>' if cards else ""


def _grids(report: Report) -> str:
    cards = [
        f'<section class="card"><h3>{escape(g.name)}</h3>{grid(g.rows, g.columns, g.values, title=g.name)}</section>'
        for g in report.grids
    ]
    return f'<h2>Side by side</h2><div class="cards">{"".join(cards)}</div>' if cards else ""


def _slices(report: Report, arms: Mapping[str, int]) -> str:
    if not report.slices or not report.metrics:
        return ""
    metric = report.metrics[0]
    cards = []
    for name, labels in report.slices.items():
        groups = []
        for label in labels:
            found = [m for m in report.measures if (m.metric, m.slice, m.label) == (metric, name, label)]
            if found:
                groups.append((label, f"n {max(m.n for m in found):,}", [_bar(m, arms[m.arm], m.arm) for m in found]))
        if groups:
            cards.append(
                f'<section class="card"><h3>{escape(name)}</h3>{dots(groups, title=f"{metric} by {name}")}</section>'
            )
    if not cards:
        return ""
    return f'<h2>{escape(metric)} by slice</h2><div class="cards wide">{"".join(cards)}</div>'


def _numbers(report: Report) -> str:
    """Every number, folded away."""
    rows = []
    for m in report.measures:
        where = "" if m.slice == ALL else f"{m.slice}: {m.label}"
        interval = "" if math.isnan(m.low) else f"[{decimal(m.low)}, {decimal(m.high)}]"
        seeds = ", ".join(decimal(s) for s in m.seeds) if len(m.seeds) > 1 else ""
        rows.append(
            f"<tr><td>{escape(m.metric)}<td>{escape(m.arm)}<td>{escape(where)}<td class=n>{decimal(m.value)}"
            f"<td class=n>{interval}<td class=n>{m.n:,}<td><small>{seeds}</small></tr>"
        )
    if not rows:
        return ""
    head = "<tr><th>metric<th>arm<th>slice<th class=n>value<th class=n>95% interval<th class=n>n<th>seeds</tr>"
    return f'<details><summary>Every number ({len(rows):,})</summary><div class="card scroll"><table>{head}{"".join(rows)}</table></div></details>'


def _provenance(facts: Mapping[str, Any]) -> str:
    if not facts:
        return ""
    rows = "".join(f"<dt>{escape(str(key))}<dd>{escape(_words(value))}" for key, value in facts.items())
    return f'<h2>Where it came from</h2><div class="card"><dl>{rows}</dl></div>'


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_words(item)}" for key, item in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(_words(item) for item in value)
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}" if isinstance(value, float) else str(value)
