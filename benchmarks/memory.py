"""Memory: a catalogue larger than a cap is read, kept, encoded, indexed, searched and evaluated under it.

    python benchmarks/memory.py            # 2.5 GB of items under 800 MB; some 10 to 15 minutes, 9 GB of disk
    python benchmarks/memory.py --quick    # 0.5 GB under 340 MB; about a minute

The items are written once (kept in the workspace). A child process with `RLIMIT_DATA` set builds the Space from their
paths; see `itemspace.testing.large` for what the cap counts. The same cap is then given to a build that reads the items
into memory first, which must be refused: otherwise the cap would prove nothing.
"""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import asdict
from pathlib import Path

from harness import Result, peak_mb, versions, workspace

from itemspace.testing.large import Outcome, Shop, capped

NAMES = {
    "reading the items": "read: rows brought into order on disk",
    "fitting the encoder": "encode: fit",
    "writing the store": "store",
    "indexing vectors": "index: vectors",
    "indexing words": "index: words",
    "fitting the recommender": "recommender",
    "weighing words and vectors": "tune the fusion",
    "opening": "open",
    "searching": "search: words and vectors, filter, facets, recommendation",
    "evaluating": "evaluate: search, recommendation, filters",
}


def run(quick: bool) -> None:
    """Measure and publish."""
    cap = 340 if quick else 800
    shop = Shop(60_000, manual=9_000) if quick else Shop(400_000, words=40, manual=6_000, topics=10_000, queries=200)
    recipe = {
        "text": ["title", "description"],
        "encoder": {"name": "lsa", "dimension": 64 if quick else 128, "features": 8_192 if quick else 32_768},
        "index": "flat",
        "recommender": "popularity",
    }
    folder = workspace("memory", "quick" if quick else "full")
    files, size = folder / "shop", folder / "size.json"
    if not size.exists():
        print(f"writing {shop.items:,} items", flush=True)
        size.write_text(json.dumps(shop.write(files) / 2**20))
    columns = float(json.loads(size.read_text()))
    vectors = shop.items * int(recipe["encoder"]["dimension"]) * 4 / 2**20  # type: ignore[index]
    told = _kept(folder / "told.json", "build", files, folder / "shop.space", recipe, cap)
    whole = _kept(folder / "whole.json", "whole", files, folder / "whole.space", recipe, cap)
    result = Result(
        name="memory",
        title="A catalogue larger than memory",
        order=60,
        command="python benchmarks/memory.py",
        about=(
            f"{shop.items:,} generated items of {columns:,.0f} MB in memory ({shop.manual:,} bytes each of text that is kept "
            f"and not searched), {vectors:,.0f} MB of vectors; LSA on a sample, exact index over the mapped vectors, BM25, "
            f"{shop.users * shop.bought:,} events. One child process, one thread, RLIMIT_DATA {cap} MB above its imports "
            f"({told.imports:,.0f} MB), Arrow on the system's allocator; peaks by looking every 4 ms."
        ),
        peers=versions("pyarrow", "lancedb", "numpy"),
    )
    rows = [
        [NAMES.get(stage["stage"], stage["stage"]), stage["seconds"], stage["anonymous"], stage["counted"]]
        for stage in told.stages
    ]
    result.table(
        "Peak memory by stage",
        ["stage", "seconds", "anonymous memory, MB", "what the cap counts, MB"],
        rows,
        note="Both above what the imports took. Mapped files are not counted: the system takes them back when it must.",
    )
    search = told.metrics.get("search", {})
    result.table(
        "What it answers",
        ["arm", "nDCG@10", "recall@100"],
        [[arm, found["ndcg@10"], found["recall@100"]] for arm, found in search.items()],
        note="Every query is the name of a topic; the items of the topic are its answers.",
    )
    result.at_least("size of items and vectors over the cap", (columns + vectors) / cap, 1.4 if quick else 3.0)
    result.at_most("peak anonymous memory over the cap", told.anonymous / cap if told.stages else 99.0, 1.0)
    result.at_most("stages the cap refused", float(bool(told.refused)), 0.0)
    result.at_least("nDCG@10 by words", search.get("lexical", {}).get("ndcg@10", 0.0), 0.99)
    result.at_least("the same cap refuses a build that reads the items whole", float(bool(whole.refused)), 1.0)
    result.notes += [f"Read whole under the same cap: {whole.refused or 'not refused'}."]
    result.notes += [f"Refused: {told.refused}"] if told.refused else []
    print(f"parent peak {peak_mb():.0f} MB")
    if not quick:
        result.publish()


def _kept(path: Path, what: str, files: Path, space: Path, recipe: dict[str, object], cap: int) -> Outcome:
    """Run the child afresh, show its stages, and keep what it said."""
    shutil.rmtree(space, ignore_errors=True)
    print(f"{what} under {cap} MB", flush=True)
    outcome = capped(what, files, space, recipe, cap)
    for stage in outcome.stages:
        print(
            f"  {stage['stage']:40} {stage['seconds']:7.1f} s {stage['anonymous']:7.0f} MB {stage['counted']:7.0f} MB"
        )
    if outcome.refused:
        print(f"  refused: {outcome.refused}")
    path.write_text(json.dumps(asdict(outcome), indent=1))
    shutil.rmtree(space, ignore_errors=True)
    return outcome


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a smoke run that is not published")
    run(parser.parse_args().quick)
