"""Semantic IDs of a Space: codes kept in the store beside the vectors, what made them beside the generations.

The store holds the live codes of version N as vectors `codes-NNNNNN` (padded with -1), and says in its meta which version
counts; so they are durable, tagged and rolled back like everything in it. `identities/NNNNNN/` holds the tokenizer, every
code it ever gave (those of items that left stay taken), and how the version came from the one before.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from itemspace.core.artifacts import Artifact
from itemspace.core.catalog import Catalog
from itemspace.core.codes import Codes
from itemspace.core.contracts import ItemTokenizer
from itemspace.core.errors import DataError, RecipeError, RequestError
from itemspace.core.files import save_arrays, write_json_atomic
from itemspace.core.plugins import find
from itemspace.core.report import Report
from itemspace.core.taking import take_rows
from itemspace.core.vectors import Dense, Sparse, Texts, Vectors, VectorSpace
from itemspace.identify.code_rows import from_padded, padded, save_codes
from itemspace.identify.health import Evidence, as_categories, health
from itemspace.identify.lifecycle import Identities, Migration
from itemspace.identify.quantizer import Quantizer
from itemspace.recipe import TOKENIZER
from itemspace.space.build import VECTORS
from itemspace.space.live import Live
from itemspace.space.suggesting import title_column
from itemspace.store.contract import Store

FOLDER, META = "identities", "identities"
TYPE, FORMAT = "identities", 1
_READS = {"title": "titles", "category": "categories", "random": "ids"}
"""Tokenizers that read something else than the vectors of words."""
_UNREAD = ("spectral", "sequential")
"""Tokenizers of behavior: built by hand from a split's training events."""


@dataclass(frozen=True)
class Named:
    """A version as the store's meta names it."""

    number: int
    tokenizer: str
    options: dict[str, Any]

    @classmethod
    def of(cls, store: Store) -> Named | None:
        """The version that counts, or None before the first."""
        told = store.meta(META)
        return None if told is None else cls(int(told["number"]), str(told["tokenizer"]), dict(told["options"]))

    @property
    def vectors(self) -> str:
        """The name of its codes in the store."""
        return f"codes-{self.number:06d}"


def identities(home: Path, store: Store) -> Identities | None:
    """The version of codes that counts, every code it ever gave with it; None where there are none.

    Raises:
        ArtifactError: its files are damaged.
    """
    named = Named.of(store)
    return None if named is None else _open(home, named.number)


def stored_codes(store: Store) -> Codes | None:
    """The codes of live items as the store holds them, at the state that it is in."""
    named = Named.of(store)
    if named is None:
        return None
    told = store.meta(META)
    rows, values = store.vectors(named.vectors)
    sizes = told["level_sizes"]
    return from_padded(values.astype(np.int64)[:, : len(sizes)], rows, sizes, told["version"])


def identify(
    home: Path,
    store: Store,
    live: Live,
    tokenizer: str | None,
    options: Mapping[str, Any],
    *,
    refit: bool,
    warm: bool,
) -> tuple[Identities, Migration | None]:
    """Give every live item a code: the first version, or codes for items that came since, or (refit) a new version.

    The caller holds the store for writing.
    """
    named, options = Named.of(store), json.loads(json.dumps(options, default=list))
    if (
        named is not None
        and not refit
        and (tokenizer not in (None, named.tokenizer) or (options and options != named.options))
    ):
        raise RequestError(
            f"the items have codes by `{named.tokenizer}` already; refit=True (--refit) makes a new version by another "
            "tokenizer or other options, with a map from the old codes to the new."
        )
    name = tokenizer or (named.tokenizer if named else TOKENIZER)
    chosen = dict(options) if options or named is None or tokenizer not in (None, named.tokenizer) else named.options
    rows, items = _representations(live, store, name)
    migration = None
    if named is None:
        made, number = Identities.start(_made(name, chosen).fit(items, rng=live.recipe.seed), items, rows), _next(home)
    elif not refit:
        held = _open(home, named.number)
        gone = held.codes.item[held.live & ~np.isin(held.codes.item, rows)]
        made, number = held.remove(gone).add(items, rows), named.number
    else:
        made, migration = _refit(_open(home, named.number), name, chosen, named, items, rows, live.recipe.seed, warm)
        number = _next(home)
    made = replace(made, number=number)
    _keep(home, made, migration)
    _store(store, made, Named(number, name, chosen))
    return made, migration


def codes_report(home: Path, store: Store, live: Live, category: str | None, k: int, sample: int) -> Report:
    """The health of the codes that count, against everything the Space knows of its items."""
    codes, named = stored_codes(store), Named.of(store)
    if codes is None or named is None:
        raise RequestError("the items have no codes yet: space.identify() (`itemspace sid build`) gives them some.")
    catalog = live.catalog
    column = category or next(iter(catalog.schema.columns("category")), None)
    labels = None
    if column is not None:
        catalog.schema[column]
        labels = as_categories(
            [str(value) if value is not None else None for value in catalog.table.column(column).to_pylist()]
        )
    vectors = decoded = None
    if live.encoder is not None:
        rows, values = store.vectors(VECTORS)
        vectors = _by_row(rows, values, len(catalog), live.encoder.space)
        tokenizer = _open(home, named.number).tokenizer
        if isinstance(tokenizer, Quantizer) and tokenizer.config.collisions in ("extra_token", "allow"):
            stood_for = tokenizer.decode(padded(codes)).values
            decoded = _by_row(codes.item, stood_for, len(catalog), live.encoder.space)
    met, behavior = live.histories.pairs(), None
    if len(met[0]):
        users = sp.csr_matrix((np.ones(len(met[0]), np.float32), met), shape=(int(met[0].max()) + 1, len(catalog)))
        together = (users.T @ users).tocsr()
        together.setdiag(0)
        together.eliminate_zeros()
        behavior = Sparse(together, VectorSpace("events", len(catalog), "dot"))
    return health(
        codes,
        Evidence(vectors, behavior, labels, decoded),
        name=named.tokenizer,
        k=k,
        sample=sample,
        rng=live.recipe.seed,
    )


def _by_row(rows: np.ndarray, values: np.ndarray, count: int, space: VectorSpace) -> Dense:
    """Vectors at their catalogue rows, zeros elsewhere."""
    out = np.zeros((count, values.shape[1]), np.float32)
    out[rows] = values
    return Dense(out, space)


def _refit(
    held: Identities,
    name: str,
    options: dict[str, Any],
    named: Named,
    items: Vectors,
    rows: np.ndarray,
    seed: int,
    warm: bool,
) -> tuple[Identities, Migration]:
    if (name, options) == (named.tokenizer, named.options):
        return held.refit(items, rows, warm=warm, rng=seed)
    other = Identities.start(_made(name, options).fit(items, rng=seed), items, rows)
    return other, Migration.between(held.codes, other.codes)


def _made(name: str, options: Mapping[str, Any]) -> ItemTokenizer:
    if name in _UNREAD:
        raise RequestError(
            f"`{name}` reads behavior. Build it from a split's training events with itemspace.identify.cooccurrence, so "
            "that what is measured later was not seen."
        )
    component = find("tokenizers", name)
    if not (isinstance(component, type) and issubclass(component, ItemTokenizer)):
        raise RecipeError(f"`{name}` is not an item tokenizer.")
    return component(component.config_class().parse(dict(options), where=f"tokenizer `{name}`"))


def _representations(live: Live, store: Store, name: str) -> tuple[np.ndarray, Vectors]:
    """Rows int32 [n] of live items and what the tokenizer reads of them."""
    catalog: Catalog = live.catalog
    reads = _READS.get(name, "vectors")
    if reads == "vectors":
        if live.encoder is None:
            raise RequestError(
                f"`{name}` makes codes of vectors, and this Space has none. Build it with an encoder, or take `title`."
            )
        rows, values = store.vectors(VECTORS)
        return rows, Dense(values, live.encoder.space)
    rows = np.arange(len(catalog), dtype=np.int32)
    rows = rows if catalog.live is None else rows[catalog.live]
    if reads == "ids":
        return rows, Texts({"id": tuple(str(name) for name in catalog.ids.decode(rows))})
    title = title_column(catalog.schema)
    columns = catalog.schema.columns("category") if reads == "categories" else [title] if title is not None else []
    if not columns:
        what = "category to make a path of" if reads == "categories" else "text to take titles from"
        raise RequestError(f"the catalogue has no column of {what}.")
    table = take_rows(catalog.table.select(columns), rows)
    told = {name: table.column(name).to_pylist() for name in columns}
    return rows, Texts({name: tuple("" if v is None else str(v) for v in column) for name, column in told.items()})


def _next(home: Path) -> int:
    folder = home / FOLDER
    return 1 + max((int(p.name) for p in folder.iterdir() if p.name.isdigit()), default=0) if folder.is_dir() else 1


def _open(home: Path, number: int) -> Identities:
    with Artifact.open(home / FOLDER / f"{number:06d}", type=TYPE, format=FORMAT) as artifact:
        return Identities.open(artifact.folder)


def _keep(home: Path, made: Identities, migration: Migration | None) -> None:
    """A generation of the version's own folder; the one before stays for who reads it."""
    (home / FOLDER).mkdir(exist_ok=True)
    artifact = Artifact.create(home / FOLDER / f"{made.number:06d}", type=TYPE, format=FORMAT)
    told = {"number": made.number, "codes": len(made.codes), "version": made.codes.version}
    with artifact, artifact.write(manifest=told) as folder:
        made.save(folder)
        if migration is not None:
            save_migration(migration, folder)
    artifact.prune(keep=2)


def save_migration(migration: Migration, folder: Path) -> None:
    """Write what became of each code into `folder`/migration."""
    to = folder / "migration"
    for part, codes in (("before", migration.before), ("after", migration.after)):
        (to / part).mkdir(parents=True)
        save_codes(codes, to / part)
    save_arrays(to, rows=migration.rows, kept=migration.kept)
    write_json_atomic(to / "migration.json", migration.to_json())


def _store(store: Store, made: Identities, named: Named) -> None:
    """The live codes that the store lacks, and then the name of the version that counts."""
    codes = made.live_codes
    held = store.vectors(named.vectors)[0] if named.vectors in store.vector_names() else np.zeros(0, np.int32)
    new = np.flatnonzero(~np.isin(codes.item, held))
    told = store.meta(META)
    width = told["width"] if told is not None and told["number"] == named.number else _width(made)
    matrix = padded(codes)[new]
    if matrix.shape[1] > width:
        raise DataError(
            f"codes of {matrix.shape[1]} levels do not fit beside those of {width}.",
            hint="Make a new version with refit=True.",
        )
    matrix = np.pad(matrix, ((0, 0), (0, width - matrix.shape[1])), constant_values=-1)
    if len(new):
        store.put_vectors(named.vectors, codes.item[new], matrix.astype(np.float32))
    about = {
        "number": named.number,
        "tokenizer": named.tokenizer,
        "options": dict(named.options),
        "level_sizes": list(codes.level_sizes),
        "version": codes.version,
        "width": width,
    }
    if told != about:
        store.put_meta(META, about)


def _width(made: Identities) -> int:
    """Levels that codes of this version may come to have."""
    return max(len(made.codes.level_sizes), int(getattr(made.tokenizer.config, "words", 0)) + 1)
