"""`analyze`: what embeddings are like, what moved between two versions, and how many items d numbers can tell apart."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from itemspace.cli.ask import JSONOption, SpacePath

analyze_app = typer.Typer(no_args_is_help=True, help="What embeddings are like, and what they cannot hold.")

Seed = Annotated[int, typer.Option(help="Of the samples and starts.")]


@analyze_app.command("space")
def analyze_space(
    space: SpacePath,
    others: Annotated[list[Path] | None, typer.Argument(help="Spaces over the same items, to compare with.")] = None,
    items: Annotated[int, typer.Option(help="Analyze a sample of at most this many items.")] = 20_000,
    questions: Annotated[int, typer.Option(help="How many of them ask for their neighbors.")] = 1_000,
    k: Annotated[int, typer.Option("-k", help="Neighbors asked for.")] = 10,
    seed: Seed = 0,
    html: Annotated[Path | None, typer.Option(help="Write the report as a page.")] = None,
    as_json: JSONOption = False,
) -> None:
    """Spectrum, dimension, isotropy, hubs and dispensable dimensions of a Space's vectors, and who agrees with whom."""
    from itemspace.cli.render import print_json
    from itemspace.evaluate.embeddings.analysis import Settings
    from itemspace.space import Space

    with ExitStack() as stack:
        opened = stack.enter_context(Space.open(space))
        named = {path.stem: stack.enter_context(Space.open(path)) for path in others or ()}
        settings = Settings(items, questions, k, seed)
        report = opened.analyze(named, settings=settings, say=lambda step: print(step, file=sys.stderr))
    if html is not None:
        html.parent.mkdir(parents=True, exist_ok=True)
        html.write_text(report.html(), encoding="utf-8")
    if as_json:
        print_json(json.loads(report.to_json()))
        return
    print(report.terminal())
    if html is not None:
        print(f"Wrote {html}")


@analyze_app.command("drift")
def analyze_drift(
    old: Annotated[Path, typer.Argument(help="The Space before.")],
    new: Annotated[Path, typer.Argument(help="The Space after.")],
    by: Annotated[str, typer.Option(help="text or behavior.")] = "text",
    most: Annotated[int, typer.Option(help="Name this many items that moved most.")] = 10,
    as_json: JSONOption = False,
) -> None:
    """What moved between two versions of a space, beyond the whole having turned."""
    from itemspace.cli.render import print_json
    from itemspace.evaluate.embeddings.analysis import common
    from itemspace.evaluate.embeddings.drift import drift
    from itemspace.space import Space

    with Space.open(old) as before, Space.open(new) as after:
        ids, vectors = common({"old": before.vectors(by), "new": after.vectors(by)})
    found = drift(vectors["old"], vectors["new"])
    moved = [(ids[row], float(found.moved[row])) for row in found.most(most).tolist()]
    if as_json:
        told = {
            "items": len(ids),
            "cka": found.cka,
            "moved": float(found.moved.mean()),
            "kept": float(found.kept.mean()),
        }
        print_json({**told, "most": [{"item": item, "moved": by_how_much} for item, by_how_much in moved]})
        return
    print(f"{len(ids):,} items in both. Agreement as wholes (CKA): {found.cka:.4f}.")
    print(f"After the best rotation items moved by {found.moved.mean():.4f} on average (1 - cosine).")
    print(f"Of 10 nearest neighbors {found.kept.mean():.1%} stayed ({len(found.asked):,} items asked).")
    for item, by_how_much in moved:
        print(f"  {item}: {by_how_much:.4f}")


@analyze_app.command("limit")
def analyze_limit(
    dimension: Annotated[str, typer.Option("--dimension", "-d", help="One number, or several by commas.")] = "2,3,4",
    k: Annotated[int, typer.Option("-k", help="How many items every query has to have on top.")] = 2,
    most: Annotated[int, typer.Option(help="Look no further than this many items.")] = 256,
    seed: Seed = 0,
    as_json: JSONOption = False,
) -> None:
    """The largest number of items of which every set of K can be somebody's top K, with vectors of D numbers."""
    from itemspace.cli.render import print_json
    from itemspace.core.errors import RequestError
    from itemspace.evaluate.embeddings.critical import critical_n

    try:
        dimensions = [int(part) for part in dimension.split(",")]
    except ValueError:
        raise RequestError(f"--dimension is a number or several by commas, got {dimension!r}.") from None
    found = {
        d: critical_n(d, k, most=most, rng=seed, say=lambda step: print(step, file=sys.stderr)) for d in dimensions
    }
    if as_json:
        print_json({"k": k, "critical": found})
        return
    for d, n in found.items():
        print(f"{d} numbers: every {k} of {n:,} items can be on top" + (", and maybe more" if n >= most else ""))
