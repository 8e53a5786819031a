"""The demo: a generated shop on disk, built, measured, searched and recommended from, as a newcomer would."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

QUERY, FILTER = "waterproof boots", "price < 120 and in_stock"


def run(folder: Path, *, items: int, users: int, seed: int) -> None:
    """Write the shop under `folder`, build `folder/shop.space`, and show what it answers."""
    from rich.console import Console

    from itemspace.cli.render import print_hits
    from itemspace.data.tables import read_tables
    from itemspace.data.worlds.shop import shop_world, write_shop
    from itemspace.space import Space

    console = Console()
    began = time.perf_counter()
    console.rule("1. a shop")
    files = write_shop(folder / "shop", shop_world(items, users, rng=seed))
    console.print(f"{items:,} items, {users:,} users in {files}: {', '.join(p.name for p in sorted(files.iterdir()))}")

    console.rule("2. build")
    target = folder / "shop.space"
    shutil.rmtree(target, ignore_errors=True)
    data = read_tables(
        files / "items.parquet",
        interactions=files / "interactions.parquet",
        queries=files / "queries.parquet",
        judgments=files / "judgments.parquet",
        impressions=files / "impressions.parquet",
    )
    with Space.build(data, path=target, say=console.print) as space:
        console.print(f"[bold]{target}[/bold]: {space.describe()}")

        console.rule("3. search")
        console.print(f'itemspace search {target} "{QUERY}" --where "{FILTER}" --facet color', highlight=False)
        hits = space.search(QUERY, k=5, where=FILTER, facets=["color"], explain=True)
        print_hits(space, hits, title=QUERY)

        console.rule("4. recommend")
        bought = [hit.item for hit in space.search("tent", k=2)[0]]
        console.print(f"itemspace recommend {target} --history {','.join(bought)} -k 5 --explain", highlight=False)
        print_hits(space, space.recommend(history=bought, k=5, explain=True), title="after two tents")

        console.rule("5. live")
        first = hits[0][0]
        space.update([{space.catalog.schema.id: first.item, "in_stock": False}])
        again = [hit.item for hit in space.search(QUERY, k=5, where=FILTER)[0]]
        console.print(f"{first.item} sold out: the same search no longer shows it: {first.item not in again}")

        console.rule("6. evaluate")
        for name, report in space.evaluate().items():
            page = folder / f"{name}.html"
            page.write_text(report.html(), encoding="utf-8")
            print(report.terminal())
            console.print(f"Wrote {page}")
    console.rule()
    console.print(
        f"{time.perf_counter() - began:.0f} s. Next: your own files, itemspace build items.parquet -o my.space"
    )
