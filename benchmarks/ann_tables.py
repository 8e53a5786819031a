"""What the search benchmark says: verdicts, tables and a chart of everything measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import harness
from ann_cells import Cell
from ann_measure import TARGET, Data, kept, place
from ann_peers import Arm, K

SHARE = 0.9
"""Of the best peer's queries per second, under every filter."""
GRAPHS = ("hnswlib", "faiss-hnsw", "usearch")


@dataclass(frozen=True)
class Run:
    """Everything measured on one data set."""

    data: Data
    arms: Mapping[str, Arm]
    built: Mapping[str, dict[str, Any]]
    swept: Mapping[str, dict[str, Any]]
    final: Mapping[str, dict[str, Any]]

    @property
    def ours(self) -> list[str]:
        """Our arms, the one verdicts are about first."""
        return [name for name, arm in self.arms.items() if arm.ours]

    def peers(self, cell: str) -> list[str]:
        """Peers that reached the target in the cell, fastest first."""
        reached = [n for n, s in self.swept.items() if not self.arms[n].ours and (s.get(cell) or {}).get("best")]
        return sorted(reached, key=lambda n: -self.swept[n][cell]["best"]["qps_cpu"])


def result(runs: Sequence[Run], machine: str, command: str) -> harness.Result:
    """The page's part."""
    sizes = ", ".join(f"{len(r.data.items):,} {r.data.name} vectors of {r.data.items.shape[1]}" for r in runs)
    made = harness.Result(
        name="ann",
        title="Approximate and filtered search",
        order=30,
        command=command,
        about=(
            f"{sizes}; recall@{K} against exact answers, fewer than {K} results counting as misses; searches on one "
            "thread of one core, builds with two threads; batches of 1,000 queries (250 for filters that go with a topic). "
            "Peers at the least setting that reaches .95 in the cell, itemspace at its defaults; filters are prepared before "
            "the clock starts (peers' selectors; itemspace keeps the slots of rows it has seen). Last ratios: five "
            "interleaved rounds, median. Random: a uniform sample of rows. Near: the queries are the 250 closest to a topic (one query's vector) "
            "and the rows closest to it may answer. Far: the same queries, the rows farthest from the topic may answer. "
            "Own: another random 1% for every query."
        ),
        peers=harness.versions("faiss-cpu", "hnswlib", "usearch", "lancedb"),
        machine=machine,
    )
    for run in runs:
        _filtered(made, run)
        _unfiltered(made, run)
        _peers(made, run)
        _builds(made, run)
        loads = [final["load"] for final in run.final.values()]
        made.notes.append(
            f"Load of the machine during the last rounds, {run.data.name}: {min(loads):.1f} to {max(loads):.1f}."
        )
    return made


def _filtered(result: harness.Result, run: Run) -> None:
    """The table that decides: every cell, ours beside the best peer."""
    rows = []
    for cell in run.data.cells:
        if not cell.allowed:
            continue
        final = run.final[cell.name]["arms"]
        peers = [name for name in final if not run.arms[name].ours]
        best = min(peers, key=lambda n: final[n]["ratio"]) if peers else None
        for name in run.ours:
            if name not in final:
                continue
            mine, theirs = final[name], final.get(best or "", {})
            ratio = theirs["ratios"][name] if best else float("inf")
            explain = (run.swept[name].get(cell.name) or {}).get("explain", "")
            rows.append(
                [
                    *(cell.name, name, mine["qps"], mine["recall"], mine["least"], best or "none"),
                    *(theirs.get("qps", ""), theirs.get("recall", ""), ratio if best else ""),
                    *(run.final[cell.name]["queries"], mine["single_us"], theirs.get("single_us", ""), explain),
                ]
            )
            if name == run.ours[0]:
                _judge(result, run, cell, mine, ratio, best)
    result.table(
        f"Filtered search, {run.data.name}: {len(run.data.items):,} vectors",
        [
            "filter",
            "ours",
            "QPS",
            "recall",
            "missing",
            "best peer",
            "its QPS",
            "its recall",
            "ratio",
            "batch",
            "one query, us",
            "its one query, us",
            "explain",
        ],
        rows,
        "Missing: the fewest results a query got less those that exist. Ratio: ours over the best peer at recall .95.",
    )


def _judge(
    result: harness.Result, run: Run, cell: Cell, mine: Mapping[str, float], ratio: float, best: str | None
) -> None:
    told = f"{run.data.name}, {cell.name}: {run.ours[0]}"
    result.at_least(f"{told} recall@{K}", mine["recall"], TARGET)
    result.at_least(f"{told} results missing", mine["least"], 0)
    if best:
        result.at_least(f"{told} queries per second over {best} at recall {TARGET}", ratio, SHARE)
    else:
        result.notes.append(f"{told}: no peer reached recall {TARGET}.")


def _unfiltered(result: harness.Result, run: Run) -> None:
    final = run.final["all"]["arms"]
    rows = []
    for name, swept in run.swept.items():
        cell = swept.get("all")
        if not cell:
            continue
        shown = cell["best"] or max(cell["tried"], key=lambda t: t["recall"])
        turns = final.get(name, {})
        single = cell.get("single", {})
        rows.append(
            [
                *(name, f"{run.arms[name].knob} {shown['setting']:g}", shown["recall"], shown["qps_cpu"]),
                *(turns.get("qps", ""), single.get("median_us", ""), single.get("p99_us", "")),
            ]
        )
        if "default" in cell:
            rows.append([f"{name}, defaults", "", cell["default"]["recall"], cell["default"]["qps_cpu"], "", "", ""])
    result.table(
        f"Unfiltered search at recall .95, {run.data.name}: {len(run.data.items):,} vectors",
        ["index", "setting", "recall", "queries per CPU-s, batch 1,000", "QPS in turns", "one query, us", "p99, us"],
        sorted(rows, key=lambda row: -row[3]),
    )
    curves = {
        name: [(t["recall"], t["qps_cpu"]) for t in swept["all"]["tried"] if t["recall"] >= 0.5]
        for name, swept in run.swept.items()
        if "all" in swept
    }
    result.chart(f"Recall and speed, {run.data.name}, unfiltered", "recall@10", "queries per CPU-s", curves)
    if run.ours:
        usual = run.swept[run.ours[0]]["all"]["default"]["recall"]
        result.at_least(f"{run.data.name}, unfiltered: {run.ours[0]} recall@{K} as it comes", usual, TARGET)
    graphs = [name for name in final if name.startswith(GRAPHS)]
    for graph in graphs[:1]:
        mine = [name for name in run.ours if name in final and final[name]["recall"] >= TARGET] or run.ours[:1]
        best = max(mine, key=lambda n: final[n]["qps"])
        claim = f"{run.data.name}, unfiltered: {best} queries per second over {graph}, both at recall {TARGET}"
        result.at_least(claim, final[graph]["ratios"][best], 1.0)


def _peers(result: harness.Result, run: Run) -> None:
    names = [n for n, arm in run.arms.items() if not arm.ours and arm.filters]
    rows = [[cell.name, *(_told(run.arms[n], run.swept[n].get(cell.name)) for n in names)] for cell in run.data.cells]
    result.table(
        f"Every filtering peer at its least setting that reaches .95, {run.data.name}",
        ["filter", *names],
        rows,
        "Queries per CPU-second (recall, setting). Not: cannot be asked so. Short: what was reached when it was four times slower than the best, "
        "or its last setting.",
    )


def _told(arm: Arm, cell: Mapping[str, Any] | None) -> str:
    """One cell of one peer, in words."""
    if not cell:
        return "not"
    shown = cell.get("default") or cell["best"] or cell["tried"][-1]
    at = f", {arm.knob} {shown['setting']:g}" if arm.knob and not arm.ours else ""
    return f"{'' if cell['best'] else 'short: '}{shown['qps_cpu']:,.0f} ({shown['recall']:.3f}{at})"


def _builds(result: harness.Result, run: Run) -> None:
    rows = [
        [name, b["about"], b["cpu_seconds"], b["wall_seconds"], b["peak_mb"], b["size_mb"], max(b["load"]), b["when"]]
        for name, b in run.built.items()
    ]
    result.table(
        f"Builds with two threads, {run.data.name}: {len(run.data.items):,} vectors",
        ["index", "settings", "CPU s", "wall s", "peak MB", "on disk MB", "load", "built"],
        rows,
        f"Peak memory holds the {run.data.items.nbytes / 2**20:,.0f} MB of input. A load over 2 means the wall time is not "
        "a quiet one; CPU seconds are what to compare.",
    )
    graphs = [n for n in run.built if n.startswith(GRAPHS)]
    mine = [n for n in run.ours if "hnsw" in n]
    for name in mine[:1] if graphs else ():
        least = min(graphs, key=lambda n: run.built[n]["cpu_seconds"])
        share = run.built[name]["cpu_seconds"] / run.built[least]["cpu_seconds"]
        result.at_most(f"{run.data.name}: build CPU seconds of {name} over {least}, the cheapest graph", share, 1.0)


def report(data: Data, mine: Sequence[Arm]) -> None:
    """What is known so far of every arm: ann-peers.md in the workspace, one part per data set."""
    known = {arm: (kept(place(arm, data), "built.json"), kept(place(arm, data))) for arm in mine}
    (data.folder / "report.md").write_text("\n".join(_lines(data, known)) + "\n")
    parts = [path.read_text() for path in sorted(data.folder.parent.glob("*/report.md"))]
    (harness.workspace() / "ann-peers.md").write_text("\n".join(parts))


def _lines(data: Data, known: Mapping[Arm, tuple[dict[str, Any], dict[str, Any]]]) -> Iterator[str]:
    yield f"# {data.name}, {len(data.items):,} vectors: so far"
    yield "Queries per CPU-second on one thread (recall, setting) at the least setting that reaches recall .95."
    yield ""
    have = [arm for arm, (_, swept) in known.items() if swept]
    yield "| filter | " + " | ".join(arm.name for arm in have) + " |"
    yield "|---" * (len(have) + 1) + "|"
    for cell in data.cells:
        yield f"| {cell.name} | " + " | ".join(_told(arm, known[arm][1].get(cell.name)) for arm in have) + " |"
    yield ""
    yield "| index | build CPU s | wall s | peak MB | disk MB | load |"
    yield "|---|---|---|---|---|---|"
    for arm, (b, _) in known.items():
        if b:
            figures = (b["cpu_seconds"], b["wall_seconds"], b["peak_mb"], b["size_mb"], max(b["load"]))
            yield f"| {arm.name} ({b['about']}) | " + " | ".join(f"{f:,.0f}" for f in figures) + " |"
