"""`sid`: semantic IDs of a Space, and their health."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from itemspace.cli.ask import JSONOption, SpacePath
from itemspace.core.errors import RecipeError, RequestError

if TYPE_CHECKING:
    from itemspace.core.report import Report
    from itemspace.core.vectors import Dense

sid_app = typer.Typer(no_args_is_help=True, help="Semantic IDs: give them to items, keep them, look at their health.")


@sid_app.command("build")
def build(
    space: SpacePath,
    tokenizer: Annotated[
        str | None, typer.Option(help="By name, such as residual-k-means, rq-vae, fsq, title.")
    ] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="option=value of the tokenizer. Repeatable.")] = None,
    refit: Annotated[bool, typer.Option(help="Fit anew, as a new version that keeps as many codes as it can.")] = False,
    cold: Annotated[
        bool, typer.Option(help="With --refit: begin from nothing, not from the codebooks there are.")
    ] = False,
) -> None:
    """Give every item of SPACE that has none a semantic ID."""
    from itemspace.space import Space

    with Space.open(space) as opened:
        migration = opened.identify(tokenizer, refit=refit, warm=not cold, **_options(set_))
        codes = opened.codes()
    assert codes is not None
    print(f"{len(codes):,} items have codes of {len(codes.level_sizes)} levels; version {codes.version}.")
    if migration is not None:
        told = migration.to_json()
        shares = ", ".join(f"{share:.1%}" for share in told["kept_prefixes"])
        print(f"{told['kept']:,} of {told['items']:,} codes are the same as before (by prefix: {shares}).")


@sid_app.command("report")
def report(
    source: Annotated[Path, typer.Argument(help="A Space, a folder of codes, a .npy matrix, or a .json index.")],
    category: Annotated[str | None, typer.Option(help="Of a Space: the column that prefixes are held against.")] = None,
    vectors: Annotated[Path | None, typer.Option(help="Of a file: the items' vectors (.npy), in its order.")] = None,
    k: Annotated[int, typer.Option("-k", help="Neighbors of an item.", min=1)] = 10,
    sample: Annotated[int, typer.Option(help="Items whose neighbors are looked up.", min=1)] = 2_000,
    html: Annotated[Path | None, typer.Option(help="Write the report as a page.")] = None,
    as_json: JSONOption = False,
) -> None:
    """Say how healthy codes are: usage per level, collisions, purity, agreement with content and behavior."""
    from itemspace.cli.render import print_json

    made = (
        _of_space(source, category, k, sample)
        if (source / "CURRENT").exists()
        else _of_file(source, vectors, k, sample)
    )
    if as_json:
        print_json(json.loads(made.to_json()))
    else:
        print(made.terminal())
    if html is not None:
        html.parent.mkdir(parents=True, exist_ok=True)
        html.write_text(made.html(), encoding="utf-8")
        print(f"Wrote {html}")


@sid_app.command("compare")
def compare(
    data: Annotated[str, typer.Option("--data", help="A dataset's folder, or its name under ITEMSPACE_DATA.")],
    arms: Annotated[str | None, typer.Option(help="Only these tokenizers, separated by commas.")] = None,
    vectors: Annotated[
        Path | None, typer.Option(help="The items' vectors (.npy), by row; default: of their words.")
    ] = None,
    k: Annotated[int, typer.Option("-k", help="Neighbors of an item.", min=1)] = 10,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    as_json: JSONOption = False,
) -> None:
    """Tokenizers side by side: the health of the codes each makes of the same items. Behavior is of training events."""
    from itemspace.cli.render import print_json
    from itemspace.cli.sources import id_list
    from itemspace.core.dataset import Dataset
    from itemspace.identify import comparing

    dataset = Dataset.read(data)
    given = None if vectors is None else _vectors(vectors, len(dataset.catalog), "items")
    made = comparing.compare(dataset, arms=id_list(arms) or None, vectors=given, k=k, seed=seed)
    if as_json:
        print_json(json.loads(made.to_json()))
    else:
        print(made.terminal(width=32 + 18 * len(made.arms)))


def _of_space(path: Path, category: str | None, k: int, sample: int) -> Report:
    from itemspace.space import Space

    with Space.open(path) as opened:
        return opened.codes_report(category=category, k=k, sample=sample)


def _of_file(path: Path, vectors: Path | None, k: int, sample: int) -> Report:
    from itemspace.identify.code_files import read_codes
    from itemspace.identify.health import Evidence, health

    codes = read_codes(path)
    given = None if vectors is None else _vectors(vectors, len(codes), "codes")
    return health(codes, Evidence(given), name=path.stem, k=k, sample=sample)


def _vectors(path: Path, count: int, what: str) -> Dense:
    from itemspace.core.files import load_array
    from itemspace.core.vectors import Dense, VectorSpace

    values = load_array(path)
    if values.ndim != 2 or len(values) != count:
        raise RequestError(f"{path} holds {values.shape}, not a vector for each of {count:,} {what}.")
    return Dense(values, VectorSpace(str(path), values.shape[1]))


def _options(given: list[str] | None) -> dict[str, Any]:
    options = {}
    for text in given or []:
        key, sign, raw = text.partition("=")
        if not sign or "." in key:
            raise RecipeError(f'"{text}" is not option=value, such as levels=4.')
        try:
            options[key.strip()] = tomllib.loads(f"x = {raw}")["x"]
        except tomllib.TOMLDecodeError:
            options[key.strip()] = raw
    return options
