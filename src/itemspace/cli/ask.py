"""`search`, `recommend`, `similar`, `explain`, `suggest`, `map`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

SpacePath = Annotated[Path, typer.Argument(help="A Space that `itemspace build` made.")]
Count = Annotated[int, typer.Option("-k", help="How many hits.")]
WhereOption = Annotated[str | None, typer.Option("--where", help='A filter: "price < 80 and in_stock".')]
JSONOption = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]
ColumnsOption = Annotated[str | None, typer.Option("--columns", help="Columns to show, separated by commas.")]
ExplainOption = Annotated[bool, typer.Option("--explain", help="Say what each step did, and why each item came.")]
RulesOption = Annotated[Path | None, typer.Option("--rules", help="Merchandising rules: a TOML or JSON file.")]


def search(
    space: SpacePath,
    query: Annotated[str, typer.Argument(help="What to look for.")],
    k: Count = 10,
    where: WhereOption = None,
    by: Annotated[str | None, typer.Option(help="reranked, hybrid, lexical, dense or system.")] = None,
    facet: Annotated[list[str] | None, typer.Option(help="Count this column's values among all matches.")] = None,
    sort: Annotated[str | None, typer.Option(help="Order by a column instead of the score; -column descends.")] = None,
    offset: Annotated[int, typer.Option(help="Hits to skip.")] = 0,
    group_by: Annotated[str | None, typer.Option(help="One hit per value of this column (variants).")] = None,
    columns: ColumnsOption = None,
    explain: ExplainOption = False,
    rules: RulesOption = None,
    as_json: JSONOption = False,
) -> None:
    """Search by words and meaning."""
    from itemspace.cli.render import hits_json, print_hits, print_json
    from itemspace.cli.sources import id_list
    from itemspace.space import Space

    with Space.open(space) as opened:
        hits = opened.search(
            query,
            k=k,
            where=where,
            by=by,
            facets=facet,
            sort=sort,
            offset=offset,
            group_by=group_by,
            explain=explain,
            rules=rules,
        )
        shown = id_list(columns) or None
        if as_json:
            print_json(hits_json(opened, hits, columns=shown)[0])
        else:
            print_hits(opened, hits, columns=shown, title=query)


def recommend(
    space: SpacePath,
    history: Annotated[
        str | None, typer.Option(help='Item IDs, oldest first, separated by commas; one with a comma as "a,b".')
    ] = None,
    user: Annotated[str | None, typer.Option(help="A known user's ID; with --history, the history wins.")] = None,
    users: Annotated[Path | None, typer.Option(help="A file with one user ID a line: a batch.")] = None,
    k: Count = 10,
    where: WhereOption = None,
    include_seen: Annotated[bool, typer.Option(help="Let items of the history come back.")] = False,
    columns: ColumnsOption = None,
    explain: ExplainOption = False,
    rules: RulesOption = None,
    as_json: JSONOption = False,
) -> None:
    """Recommend for a known user, a bare history, or a batch of users."""
    from itemspace.cli.render import hits_json, print_hits, print_json
    from itemspace.cli.sources import id_list, read_lines
    from itemspace.core.errors import RequestError
    from itemspace.space import Space

    names = None
    if users is not None:
        if user is not None or history is not None:
            raise RequestError("--users is a batch of its own; leave out --user and --history.")
        names = read_lines(users)
        if not names:
            raise RequestError(f"{users} names no user. Give a text file with one user ID a line.")
    with Space.open(space) as opened:
        hits = opened.recommend(
            history=id_list(history) if history is not None else None,
            user=names if names is not None else user,
            k=k,
            where=where,
            exclude_seen=not include_seen,
            explain=explain,
            rules=rules,
        )
        shown = id_list(columns) or None
        if as_json:
            answers = hits_json(opened, hits, columns=shown)
            print_json([{"user": n, **a} for n, a in zip(names, answers, strict=True)] if names else answers[0])
        else:
            print_hits(opened, hits, columns=shown, title="recommended", totals=False)


def similar(
    space: SpacePath,
    item: Annotated[str, typer.Argument(help="The item's ID.")],
    by: Annotated[str, typer.Option(help="text or behavior.")] = "text",
    k: Count = 10,
    where: WhereOption = None,
    columns: ColumnsOption = None,
    rules: RulesOption = None,
    as_json: JSONOption = False,
) -> None:
    """Items like one item, by its words or by what users did."""
    from itemspace.cli.render import hits_json, print_hits, print_json
    from itemspace.cli.sources import id_list
    from itemspace.space import Space

    with Space.open(space) as opened:
        hits = opened.similar(item, by=by, k=k, where=where, rules=rules)
        shown = id_list(columns) or None
        if as_json:
            print_json(hits_json(opened, hits, columns=shown)[0])
        else:
            print_hits(opened, hits, columns=shown, title=f"like {item} by {by}", totals=False)


def explain(
    space: SpacePath,
    item: Annotated[str, typer.Argument(help="The item to account for.")],
    query: Annotated[str | None, typer.Option(help="Why it answers this search.")] = None,
    history: Annotated[str | None, typer.Option(help="Why it is recommended to this history.")] = None,
    user: Annotated[str | None, typer.Option(help="Why it is recommended to this user.")] = None,
    as_json: JSONOption = False,
) -> None:
    """Say why an item came, or why it did not: terms, neighbors, scores."""
    from itemspace.cli.render import print_explanation, print_json
    from itemspace.cli.sources import id_list
    from itemspace.space import Space

    with Space.open(space) as opened:
        told = opened.explain(item, query=query, history=id_list(history) if history else None, user=user)
        if as_json:
            print_json(told)
        else:
            print_explanation(told)


def suggest(
    space: SpacePath,
    prefix: Annotated[str, typer.Argument(help="What was typed so far.")],
    k: Annotated[int, typer.Option("-k", help="How many suggestions.")] = 8,
    where: WhereOption = None,
    as_json: JSONOption = False,
) -> None:
    """Complete what someone types, from titles and from queries that were asked."""
    from itemspace.cli.render import print_json
    from itemspace.space import Space

    with Space.open(space) as opened:
        found = opened.suggest(prefix, k=k, where=where)
    if as_json:
        print_json([{"text": one.text, "kind": one.kind, "item": one.item} for one in found])
        return
    for one in found:
        print(one.text if one.item is None else f"{one.text}  ({one.item})")


def map_items(
    space: SpacePath,
    by: Annotated[str, typer.Option(help="text or behavior.")] = "text",
    limit: Annotated[int, typer.Option(help="Show a sample of at most this many items.")] = 20_000,
    color: Annotated[str | None, typer.Option(help="A category column to count the items of.")] = None,
    as_json: JSONOption = False,
) -> None:
    """Lay the items out on a map, and keep it beside the Space for whoever looks at it."""
    import sys

    from itemspace.cli.render import print_json
    from itemspace.space import Space

    with Space.open(space) as opened:
        made = opened.map(by, color=color, limit=limit, say=lambda step: print(step, file=sys.stderr))
    if as_json:
        points = zip(made.ids, made.x.tolist(), made.y.tolist(), made.colors.tolist(), strict=True)
        told = [{"item": item, "x": x, "y": y, "color": c} for item, x, y, c in points]
        print_json({"points": told, "colors": made.color_names, "note": made.note})
        return
    print(f"{len(made):,} items. {made.note}.")
    for at, name in enumerate(made.color_names):
        print(f"  {name}: {int((made.colors == at).sum()):,}")
