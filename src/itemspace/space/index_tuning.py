"""`Space.tune_index`: the index of vectors measured on the Space's own, chosen, written to its recipe, built anew."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from itemspace.core.errors import ArtifactError, RequestError
from itemspace.core.files import write_json_atomic
from itemspace.core.ragged import Ragged
from itemspace.core.requests import Requests
from itemspace.core.seeding import derive
from itemspace.core.selection import Selection
from itemspace.core.vectors import Dense
from itemspace.data.staged import ITEMS, mapped_table
from itemspace.evaluate.benches.indexes import VectorData, held_out
from itemspace.index.tuning import QUERIES, SAMPLE, Tuned, tune
from itemspace.recipe import Part, Recipe
from itemspace.space import parts
from itemspace.space.build import VECTORS, claimed
from itemspace.space.given import load_impressions, load_queries
from itemspace.space.layout import adopt, sync_tree
from itemspace.space.live import Live

if TYPE_CHECKING:
    from itemspace.space.front import Space
    from itemspace.store.contract import Store

LOGGED = 50
"""Fewer logged queries than this are not enough to judge by; vectors of items held out of the sample are asked then."""
CHECKED = 100
"""Queries that the index built at full size is checked with."""
KEPT = "index-tuning.json"
"""In the generation: what was measured when its index was chosen."""
_RESERVED = ("type", "format", "itemspace", "created", "checksums")


@dataclass(frozen=True)
class IndexChoice:
    """What was measured and what was made of it. generation: the one that has the choice in its recipe, "" for none.

    reached: recall of the index built at full size, None where it was not built.
    """

    tuned: Tuned
    generation: str = ""
    applied: bool = False
    reached: float | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            **self.tuned.to_json(), "generation": self.generation, "applied": self.applied, "reached": self.reached
        }  # fmt: skip


def measure(
    live: Live,
    store: Store,
    *,
    recall: float,
    memory: float,
    k: int,
    types: Sequence[str] | None,
    sample: int | None,
    seconds: float,
    say: Callable[[str], object],
) -> Tuned:
    """Candidates measured on a sample of the Space's vectors with its logged queries, or with items held out of it."""
    if live.encoder is None or live.dense is None:
        raise RequestError("this Space has no vectors, so there is no index of them to tune.")
    size = len(live.dense)
    logged = logged_queries(live)
    wanted = min(size, sample or SAMPLE)
    vectors = sampled(live, store, wanted if logged is not None else min(size, wanted + QUERIES))
    asked, told = logged, "logged queries"
    if asked is None:
        held = np.sort(
            derive(live.recipe.seed, "asked").choice(len(vectors), min(QUERIES, len(vectors) // 10), replace=False)
        )
        asked = Dense(np.asarray(vectors.values[held], np.float32), vectors.space)
        vectors = vectors.take(np.setdiff1d(np.arange(len(vectors)), held))
        told = "items held out of the sample"
    say(f"measuring on {len(vectors):,} of {size:,} vectors with {len(asked):,} {told}")
    return tune(
        vectors,
        asked,
        size=size,
        recall=recall,
        memory=memory,
        k=k,
        types=types,
        seconds=seconds,
        asked=f"{len(asked):,} {told}",
        rng=live.recipe.seed,
        say=say,
    )


def vector_data(space: Space, count: int | None = None) -> VectorData:
    """A Space's vectors (at most `count` items) and its logged queries, or items held out, for `bench indexes`."""
    live, store = space._live, space._store
    if live.encoder is None or live.dense is None:
        raise RequestError("this Space has no vectors, so there is no index of them to measure.")
    items, logged = sampled(live, store, count or len(live.catalog)), logged_queries(live)
    if logged is None:
        return held_out(space.path.name, items, live.recipe.seed)
    return VectorData(space.path.name, items, logged, f"{len(logged):,} logged queries")


def logged_queries(live: Live) -> Dense | None:
    """Vectors of queries people asked (judged and logged ones, distinct), at most `QUERIES`; None for too few."""
    assert live.encoder is not None
    texts: list[str] = []
    judged = load_queries(live.given, live.catalog.ids)
    if judged is not None:
        texts += judged[0].texts
    shown = load_impressions(live.given, live.catalog.ids)
    if shown is not None and shown.query is not None:
        texts += shown.queries
    distinct = sorted({text for text in texts if text and text.strip()})
    if len(distinct) < LOGGED or "text" not in live.encoder.consumes:
        return None
    chosen = derive(live.recipe.seed, "logged").choice(len(distinct), min(QUERIES, len(distinct)), replace=False)
    found = live.encoder.encode(Requests.texts([distinct[i] for i in np.sort(chosen)]), role="query")
    return found if isinstance(found, Dense) else None


def sampled(live: Live, store: Store, count: int) -> Dense:
    """`count` of the live items' vectors, uniformly, read a piece at a time."""
    assert live.encoder is not None
    n = len(live.catalog)
    alive = np.arange(n) if live.catalog.live is None else np.flatnonzero(live.catalog.live)
    chosen = np.zeros(n, bool)
    chosen[derive(live.recipe.seed, "sample").choice(alive, min(count, len(alive)), replace=False)] = True
    pieces = []
    for rows, values in store.scan_vectors(VECTORS):
        known = rows < n  # what another process has added since is not known here yet
        pieces.append(values[known][chosen[rows[known]]])
    if not any(len(piece) for piece in pieces):
        raise RequestError("this Space holds no vectors to tune an index on.")
    return Dense(np.concatenate(pieces), live.encoder.space)


def written(
    path: Path, live: Live, store: Store, store_name: str, tuned: Tuned, *, apply: bool, say: Callable[[str], object]
) -> IndexChoice:
    """A new generation with the choice in its recipe and, with `apply`, the index built of it; everything else as it is.

    Raises:
        ArtifactError: the Space was built anew since it was opened, or another process builds it.
    """
    choice = tuned.choice
    assert choice is not None
    chosen = Part(name=choice.candidate.part, options=choice.options)
    with claimed(path, replace=True) as artifact:
        manifest = {key: value for key, value in artifact.manifest.items() if key not in _RESERVED}
        if manifest["store"] != store_name:
            raise ArtifactError(f"{path} was built anew while its index was tuned. Open it again, and tune again.")
        recipe = Recipe.load({**manifest["recipe"], "index": {"name": chosen.name, **chosen.options}})
        manifest["recipe"] = json.loads(json.dumps(recipe.to_toml_dict(), default=str))
        before, reached = artifact.folder, None
        with artifact.write(manifest=manifest) as folder:
            for part in manifest["parts"]:
                if not (apply and part == "dense"):
                    adopt(before / part, folder / part)
            if apply:
                say(f"building {choice.candidate.name} over {tuned.size:,} vectors")
                reached = _build(live, store, recipe, before, folder / "dense", tuned.k)
            write_json_atomic(folder / KEPT, tuned.to_json() | {"reached": reached})
        artifact.prune(keep=2)
        return IndexChoice(tuned, artifact.generation, apply, reached)


def _build(live: Live, store: Store, recipe: Recipe, generation: Path, folder: Path, k: int) -> float:
    """Build the index of the recipe over the vectors of the generation's items; the recall it reaches."""
    size = mapped_table(generation / "catalog" / ITEMS).num_rows
    made = replace(live, recipe=recipe)
    index = made._filled(parts.make_index(recipe, size), store, size)
    parts.save_part(index, folder)
    sync_tree(folder)
    return reached(live, store, parts.open_part(folder), size, k)


def reached(live: Live, store: Store, index: Any, size: int, k: int) -> float:
    """The recall@k of an index of the Space's vectors, on logged queries or on items that may not answer themselves."""
    assert live.encoder is not None
    exact = live.exact_index(store)
    logged = logged_queries(live)
    if logged is not None:
        asked = logged.take(np.arange(min(CHECKED, len(logged))))
        within = Selection(size)
    else:
        rows, values = next(iter(store.scan_vectors(VECTORS)))
        some = np.flatnonzero(rows < size)
        some = some[np.linspace(0, len(some) - 1, min(CHECKED, len(some))).astype(int)]
        asked = Dense(np.asarray(values[some], np.float32), live.encoder.space)
        within = Selection(size, exclude=Ragged.from_lists([[row] for row in rows[some]]))
    best, found = exact.search(asked, k, within), index.search(asked, k, within)
    last = np.take_along_axis(best.scores, np.maximum(best.found - 1, 0)[:, None], 1)
    good = (found.rows[:, :, None] == best.rows[:, None, :]).any(2) | (found.scores >= last - 1e-6)
    return float((good & (found.rows >= 0)).sum() / max(int(best.found.sum()), 1))
