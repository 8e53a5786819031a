"""The demo: a generated shop on disk, built, searched, recommended from and measured, as a newcomer would."""

from __future__ import annotations

import shlex
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from itemspace.core.report import Report
    from itemspace.data.worlds import World
    from itemspace.space import Space

QUERY, FILTER = "waterproof boots", "price < 120 and in_stock"
BOUGHT = ("hiking boots", "tent")
METRIC = "ndcg@10"


def run(folder: Path, *, items: int, users: int, seed: int) -> None:
    """Write the shop under `folder`, build `folder/shop.space`, and show what it answers."""
    from rich.console import Console

    from itemspace.data.worlds.shop import shop_world, write_shop
    from itemspace.space import Space

    console = Console(highlight=False)
    began = time.perf_counter()
    _rule(console, "1. A shop as files")
    world = shop_world(items, users, rng=seed)
    files = write_shop(folder / "shop", world)
    log = world.data.interactions
    told = f"{items:,} items, {users:,} users, {0 if log is None else len(log):,} events in {files}/"
    _line(console, f"{told}: {', '.join(path.name for path in sorted(files.iterdir()))}")

    _rule(console, "2. Build")
    target = folder / "shop.space"
    shutil.rmtree(target, ignore_errors=True)
    logs = ("interactions", "queries", "judgments", "impressions")
    given = {name: files / f"{name}.parquet" for name in logs}
    _command(console, "build", files / "items.parquet", *(f"--{k}={v}" for k, v in given.items()), "-o", target)
    from itemspace.data.tables import read_tables

    data = read_tables(files / "items.parquet", **given)  # type: ignore[arg-type]
    with Space.build(data, path=target, say=console.print) as space:
        console.print(f"Done: {space.describe()}.")
        _search(console, space, target)
        _recommend(console, space, target)
        _rule(console, "6. Evaluate, on what was held out")
        _command(console, "evaluate", target, "--html", folder / "report.html")
        for name, report in space.evaluate().items():
            page = folder / f"report-{name.replace(' ', '-')}.html"
            page.write_text(report.html(), encoding="utf-8")
            best = _best_known(world) if name == "recommendation" else None
            _measured(console, name, report, best)
            _line(console, f"Intervals, tests, slices and plots: {page}")
    console.rule()
    _line(
        console, f"{time.perf_counter() - began:.0f} s. Next, your own files: itemspace build items.parquet -o my.space"
    )


def _search(console: Console, space: Space, target: Path) -> None:
    """A search with a filter and facets, and the same after its first hit sold out."""
    from itemspace.cli.render import print_hits

    _rule(console, "3. Search")
    options = {"k": 5, "where": FILTER, "group_by": "variant_of"}
    words = ("--where", FILTER, "--group-by", "variant_of", "--facet", "color", "-k", 5)
    _command(console, "search", target, QUERY, *words)
    hits = space.search(QUERY, facets=["color"], **options)  # type: ignore[arg-type]
    print_hits(space, hits, title=QUERY)

    _rule(console, "4. A change is live at once")
    first = hits[0][0]
    space.update([{space.catalog.schema.id: first.item, "in_stock": False}])
    again = space.search(QUERY, **options)[0]  # type: ignore[arg-type]
    gone = first.item not in [hit.item for hit in again]
    console.print(
        f"{first.item} is sold out now. The same search {'leads with ' + again[0].item if gone else 'kept it'}."
    )


def _recommend(console: Console, space: Space, target: Path) -> None:
    """What goes with two things bought."""
    from itemspace.cli.render import print_hits

    _rule(console, "5. Recommend")
    bought = [space.search(what, k=1)[0][0].item for what in BOUGHT]
    _command(console, "recommend", target, "--history", ",".join(bought), "-k", 5, "--explain")
    print_hits(
        space, space.recommend(history=bought, k=5, explain=True), title=f"after {' and '.join(BOUGHT)}", totals=False
    )


def _best_known(world: World) -> float | None:
    """The metric of a recommender that knows how the shop's events came about, on the held-out events."""
    from itemspace.data.splits import global_temporal
    from itemspace.data.worlds import Oracle
    from itemspace.evaluate import evaluate

    task = global_temporal(world.data).test
    return float(evaluate(Oracle(world.truth).bind(world.data.catalog), task, [METRIC], k=10, name="truth")[METRIC])


def _measured(console: Console, name: str, report: Report, best: float | None) -> None:
    """The headline, then a line per arm with a bar; under filters, whether they held."""
    if METRIC not in report.metrics:
        filters = [m for m in report.measures if m.slice == "filter" and m.metric.startswith("fill")]
        fill, forbidden = report.value("fill@10"), report.value("forbidden@10")
        console.print(
            f"[bold]{name.capitalize()}[/bold]: under {len(filters)} filters {fill:.1%} of the answers that exist came "
            f"back, {forbidden:.1%} of what came back did not match."
        )
        return
    console.print(f"[bold]{name.capitalize()}[/bold]: {report.headline}")
    measured = {arm: report.measure(METRIC, arm).value for arm in report.arms}
    if best is not None:
        measured["the shop's own truth"] = best
    scale = max(measured.values()) or 1.0
    for arm, value in sorted(measured.items(), key=lambda pair: pair[1]):
        console.print(f"  {arm:<21} {value:.3f} {'█' * round(30 * value / scale)}")


def _rule(console: Console, title: str) -> None:
    console.print()
    console.rule(f"[bold]{title}[/bold]", align="left")


def _command(console: Console, *words: object) -> None:
    """The command that does the same, whole on one line so that it can be copied."""
    _line(console, "$ itemspace " + shlex.join(str(word) for word in words), style="dim")


def _line(console: Console, text: str, style: str = "") -> None:
    """A line that is not broken, markup left alone."""
    console.print(text, style=style or None, markup=False, soft_wrap=True)
