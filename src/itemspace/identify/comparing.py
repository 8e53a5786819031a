"""Tokenizers side by side on one dataset: the health of what each makes of the same items, without training a generator."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from itemspace.core.codes import Codes
from itemspace.core.config import load_object
from itemspace.core.contracts import ItemTokenizer
from itemspace.core.dataset import Dataset
from itemspace.core.errors import ContractError, MissingExtraError, RequestError, nearest
from itemspace.core.plugins import find
from itemspace.core.report import Measure, Report
from itemspace.core.vectors import Dense, Sparse, Texts
from itemspace.data.splits import leave_one_out
from itemspace.identify.cooccurrence import affinity, behavior_vectors
from itemspace.identify.health import Evidence, as_categories, health
from itemspace.identify.quantizer import Quantizer

Made = tuple[Codes, Dense | None]
"""Codes, and what they stand for where the tokenizer can say."""


@dataclass(frozen=True)
class Sources:
    """What tokenizers may read of a dataset: content, titles, and behavior of training events."""

    vectors: Dense
    ids: Texts
    titles: Texts | None
    affinity: Sparse | None
    behavior: Dense | None


ARMS: dict[str, tuple[str, dict[str, Any], str]] = {
    "random": ("random", {}, "ids"),
    "title": ("title", {}, "titles"),
    "residual-k-means": ("residual-k-means", {}, "vectors"),
    "plain residuals": ("residual-k-means", {"normalize_residuals": False}, "vectors"),
    "product": ("product", {"levels": 3}, "vectors"),
    "fsq": ("fsq", {"levels": 3}, "vectors"),
    "hierarchical-k-means": ("hierarchical-k-means", {"branches": 16, "leaf": 16}, "vectors"),
    "rq-vae": ("rq-vae", {}, "vectors"),
    "rq-vae + behavior": ("rq-vae", {"alignment": 0.3}, "vectors"),
    "spectral": ("spectral", {"leaf": 100}, "affinity"),
}
"""Name -> tokenizer, its options, and what it reads."""


SHOWN = ("collisions", "perplexity", "gini", "purity", "source-agreement", "behavior-agreement", "embedding-hit-rate")
"""Metrics of a comparison: of the first two levels, what chance gives beside the first; `health` has all."""


def compare(
    data: Dataset,
    *,
    arms: Sequence[str] | None = None,
    vectors: Dense | None = None,
    k: int = 10,
    sample: int = 2_000,
    seed: int = 0,
    say: Callable[[str], object] = lambda _: None,
) -> Report:
    """The health of every arm's codes on `data`, one column each; behavior is of the training part of a leave-one-out split.

    vectors: the items' content (default: latent semantic analysis of their words). Arms that lack what they read, or an
    extra, are left out and named in the notes.

    Raises:
        RequestError: no such arm.
    """
    wanted = list(arms) if arms else list(ARMS)
    for name in wanted:
        if name not in ARMS:
            raise RequestError(f"no arm `{name}`.{nearest(name, ARMS)} Arms: {', '.join(ARMS)}.")
    sources = _sources(data, vectors)
    categories = _categories(data)
    measures: list[Measure] = []
    notes: list[str] = []
    seconds: dict[str, float] = {}
    for name in wanted:
        began = time.process_time()
        try:
            codes, decoded = _made(name, sources, seed)
        except (ContractError, MissingExtraError) as error:
            notes.append(f"{name} is left out: {str(error).splitlines()[0]}")
            continue
        seconds[name] = round(time.process_time() - began, 2)
        say(f"{name}: {seconds[name]:.1f} s")
        evidence = Evidence(sources.vectors, sources.affinity, categories, decoded)
        report = health(codes, evidence, name=name, k=k, sample=sample, rng=seed)
        measures += [m for m in report.measures if _shown(m.metric)]
        notes += [f"{name}: {note}" for note in report.notes]
    about = {
        "data": data.name,
        "fingerprint": data.fingerprint,
        "items": len(data.catalog),
        "seed": seed,
        "cpu s": seconds,
    }
    title = f"Semantic IDs of {data.name}"
    return Report(title, tuple(measures), notes=tuple(notes), provenance=about, primary=("collisions",))


def _shown(metric: str) -> bool:
    name, _, level = metric.rpartition("-")
    if name.endswith("-by-chance"):
        return level == "1"
    return metric.startswith(SHOWN) and not (level.isdigit() and int(level) > 2)


def _sources(data: Dataset, vectors: Dense | None) -> Sources:
    catalog = data.catalog
    if vectors is None:
        encoder = load_object("itemspace.encode.lsa:LSAEncoder")(dimension=min(128, max(len(catalog) - 1, 1)))
        found = encoder.fit(catalog).encode(catalog, role="item")
        vectors = replace(found, values=np.asarray(found.values, np.float32))
    ids = Texts({"id": tuple(str(name) for name in catalog.ids.decode(np.arange(len(catalog), dtype=np.int32)))})
    texts = catalog.schema.columns("text")
    column = next((name for name in texts if name.lower() in ("title", "name")), texts[0] if texts else None)
    titles = None
    if column is not None:
        titles = Texts({column: tuple(text or "" for text in catalog.table.column(column).to_pylist())})
    if data.interactions is None or len(data.interactions) == 0:
        return Sources(vectors, ids, titles, None, None)
    split = leave_one_out(data)
    return Sources(vectors, ids, titles, affinity(split), behavior_vectors(split))


def _categories(data: Dataset) -> np.ndarray | None:
    columns = data.catalog.schema.columns("category")
    if not columns:
        return None
    values = data.catalog.table.column(columns[0]).to_pylist()
    return as_categories([None if value is None else str(value) for value in values])


def _made(name: str, sources: Sources, seed: int) -> Made:
    tokenizer_name, options, reads = ARMS[name]
    items = getattr(sources, reads)
    if items is None or ("alignment" in options and sources.behavior is None):
        raise ContractError(f"the dataset has no {'titles' if reads == 'titles' else 'events'}.")
    tokenizer: ItemTokenizer = find("tokenizers", tokenizer_name)(**options)
    given = {"behavior": sources.behavior} if "alignment" in options else {}
    tokenizer.fit(items, rng=seed, **given)
    decoded = tokenizer.decode(tokenizer.levels(items)) if isinstance(tokenizer, Quantizer) else None
    return tokenizer.assign(items), decoded
