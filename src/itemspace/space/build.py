"""From a dataset and a recipe to a Space on disk: step by step, each finished step kept, the switch atomic."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from itemspace._version import __version__
from itemspace.core.artifacts import Artifact
from itemspace.core.config import load_object
from itemspace.core.contracts import Recommender, Retriever
from itemspace.core.dataset import Dataset
from itemspace.core.errors import ArtifactError, ContractError, DataError
from itemspace.core.files import FileLock
from itemspace.core.hashing import fingerprint
from itemspace.core.interactions import Interactions
from itemspace.core.keeping import name_part
from itemspace.core.plugins import find
from itemspace.core.seeding import derive
from itemspace.core.vectors import Dense
from itemspace.data.staged import BATCH_BYTES, IDS, ITEMS, MappedCatalog, rows_within, write_ids, write_items
from itemspace.data.table_files import TableFiles
from itemspace.encode.cache import encode_catalog
from itemspace.rank.features import Features, numeric_columns
from itemspace.rank.learned import LearnedRanker
from itemspace.recipe import Recipe
from itemspace.space import parts
from itemspace.space.choosing import fitted
from itemspace.space.given import save_given
from itemspace.space.histories import Histories
from itemspace.space.layout import BESIDE, FORMAT, TYPE, Stages, adopt
from itemspace.space.suggesting import Suggesting
from itemspace.store.opening import discard

CHUNK = 50_000
EVENTS = 200_000
WORDS_IN_MEMORY, WORDS_AT_ONCE = 64 << 20, 4 << 20
"""Bytes of text from which words are indexed through runs on disk, and how much of it is read at once."""
VECTORS = "text"
"""The name under which the store keeps the vectors of items' words."""

Say = Callable[[str], object]


@dataclass
class Build:
    """One build. `run` leaves a complete Space at `path`, or what was there before."""

    data: Dataset
    path: Path
    recipe: Recipe
    say: Say

    def __post_init__(self) -> None:
        plan = self.recipe.to_toml_dict()
        self.key = fingerprint(self.data.fingerprint, plan, FORMAT, __version__)
        self.columns = parts.words_of(self.data.catalog, self.recipe)
        self.readable = parts.readable(self.data.catalog, self.columns)
        if len(self.data.catalog) == 0:
            raise DataError("the catalogue is empty.", hint="A Space needs at least one item.")
        if self.recipe.system is not None:
            load_object("itemspace.systems.registry:find")(self.recipe.system)  # refuses an unknown slug
        if self.recipe.rerank is not None:
            shown = self.data.impressions
            if shown is None or shown.query is None or not (shown.outcome > 0).any() or not self.columns:
                raise DataError(
                    "the recipe's [rerank] learns from clicks on answers to queries, and there are none.",
                    hint="Give --impressions with queries and clicks, or leave [rerank] out.",
                )
        searched = self.columns and (self.recipe.lexical is not None or self.recipe.encoder is not None)
        recommended = self.recipe.recommender is not None and self.data.interactions is not None
        if not searched and not recommended and self.recipe.system is None:
            raise DataError(
                "nothing would be built: the items have no column of words to search and there are no events "
                "to recommend from.",
                hint="Name the columns with words (text = [...] in the recipe), or give interactions.",
            )

    def run(self, artifact: Artifact) -> None:
        """Build, or go on with a killed build of the same data and recipe. The caller holds the place (`claimed`)."""
        tidy_stages(self.path / "stages")
        stages = Stages(self.path / "stages" / self.key, self.say)
        manifest: dict[str, Any] = {
            "recipe": self.recipe.to_toml_dict(),
            "data": {"name": self.data.name, "fingerprint": self.data.fingerprint, "source": dict(self.data.source)},
            "schema": self.data.catalog.schema.to_json(),
            "columns": self.columns,
            "seed": self.recipe.seed,
            "parts": [],
        }
        folders = self._stages(stages, manifest)
        name = place_store(self.path, folders.pop("store"))
        manifest |= {"store": name, "store_kind": self.recipe.store.name, "store_version": self._version(name)}
        with artifact.write(manifest=json.loads(json.dumps(manifest, default=str))) as folder:
            for part, source in folders.items():
                adopt(source, folder / part)
        stages.clear()
        self._tidy(artifact)

    def _stages(self, stages: Stages, manifest: dict[str, Any]) -> dict[str, Path]:
        """Every step's folder by the name it has in a generation."""
        catalog, folders = self.data.catalog, {}
        vectors = None
        if self.recipe.encoder is not None and self.columns:
            folders["encoder"] = stages.folder("encoder", "fitting the encoder", self._fit_encoder)
            vectors = stages.folder(
                "vectors", f"encoding {len(catalog):,} items", lambda to: self._encode(folders["encoder"], to)
            )
        folders["store"] = stages.folder("store", "writing the store", lambda to: self._write_store(to, vectors))
        folders["catalog"] = stages.folder("catalog", "keeping the catalogue", self._keep_catalog)
        if vectors is not None:
            folders["dense"] = stages.folder(
                "dense", "indexing vectors", lambda to: self._index_vectors(folders["encoder"], vectors, to)
            )
        if self.recipe.lexical is not None and self.columns:
            folders["lexical"] = stages.folder("lexical", "indexing words", self._index_words)
        if self.recipe.system is not None:
            slug = self.recipe.system
            made = stages.folder("system", f"building {slug}", self._build_system)
            folders["recommender" if (made / "recommends").exists() else "system"] = made
        wanted = self.recipe.recommender is not None and self.data.interactions is not None
        if wanted and "recommender" not in folders:
            folders["recommender"] = stages.folder("recommender", "fitting the recommender", self._fit_recommender)
        folders["histories"] = stages.folder(
            "histories", "keeping histories", lambda to: Histories.of(self.data.interactions).save(to)
        )
        folders["given"] = stages.folder(
            "given", "keeping queries and impressions", lambda to: save_given(self.data, to)
        )
        folders["suggest"] = stages.folder(
            "suggest",
            "indexing titles and queries to suggest",
            lambda to: self._index_suggestions(folders["given"], to),
        )
        if {"lexical", "dense"} <= set(folders) and self.data.judgments is not None:
            folders["fusion"] = stages.folder(
                "fusion", "weighing words and vectors", lambda to: self._tune_fusion(folders, to)
            )
        if self.recipe.rerank is not None:
            folders["reranker"] = stages.folder(
                "reranker", "learning to rerank from clicks", lambda to: self._fit_reranker(folders, to)
            )
        manifest["parts"] = sorted(set(folders) - {"store"})
        return folders

    def _fit_encoder(self, to: Path) -> None:
        assert self.recipe.encoder is not None
        encoder = self.recipe.encoder.make("encoders")
        parts.save_part(encoder.fit(self.readable, rng=derive(self.recipe.seed, "encoder")), to)

    def _encode(self, encoder: Path, to: Path) -> None:
        """The vectors of all items, written as they are made."""
        try:
            encode_catalog(parts.open_part(encoder), self.readable, out=to / "vectors.npy")
        except ContractError as error:
            raise ArtifactError(f"a Space keeps one vector per item: {error}") from None

    def _write_store(self, to: Path, vectors: Path | None) -> None:
        store_class = find("stores", self.recipe.store.name)
        catalog = self.data.catalog
        config = store_class.config_class().parse(self.recipe.store.options)
        with store_class.create(
            to / "store", items_schema=catalog.table.schema, id_column=catalog.schema.id, config=config
        ) as store:
            store.load_items((_counted(start, part), part) for start, part in pieces(catalog.table))
            if vectors is not None:
                values = np.load(vectors / "vectors.npy", mmap_mode="r")
                step = max(1, BATCH_BYTES // (values.itemsize * values.shape[1]))
                cuts = [(start, values[start : start + step]) for start in range(0, len(values), step)]
                store.load_vectors(VECTORS, ((_counted(start, part), np.asarray(part)) for start, part in cuts))
            if self.data.interactions is not None:
                store.load_events(_events(self.data.interactions))

    def _keep_catalog(self, to: Path) -> None:
        """The items as the store first has them, so that opening maps a file instead of scanning the store."""
        catalog = self.data.catalog
        if isinstance(catalog, MappedCatalog):
            adopt(catalog.folder, to, only=(ITEMS, IDS))
        else:
            write_items([catalog.table], to)
            write_ids(catalog.ids, to)

    def _index_vectors(self, encoder: Path, vectors: Path, to: Path) -> None:
        space = parts.open_part(encoder).space
        index = parts.make_index(self.recipe, len(self.data.catalog))
        values = np.load(vectors / "vectors.npy", mmap_mode="r")
        # One piece: the index takes the mapped file as it is instead of joining copies of its chunks.
        index.build([Dense(values, space)], ties=self.data.catalog.ids.ties, rng=derive(self.recipe.seed, "index"))
        parts.save_part(index, to)

    def _index_words(self, to: Path) -> None:
        made = parts.make_words(self.recipe, self.columns)
        assert made is not None
        fields, index = made
        catalog = self.readable
        ties = catalog.ids.ties
        into = getattr(index, "build_into", None)
        if into is not None and catalog.table.nbytes > WORDS_IN_MEMORY:
            step = rows_within(catalog.table, WORDS_AT_ONCE)
            into(to, (fields.encode(part, role="item") for part in catalog.chunks(step)), ties=ties)
            name_part(index, to)
            return
        index.build((fields.encode(part, role="item") for part in catalog.chunks(CHUNK)), ties=ties)
        parts.save_part(index, to)

    def _fit_recommender(self, to: Path) -> None:
        recommender, choice = fitted(self.data, self.recipe)
        if choice is not None:
            self.say(f"  {choice}")
            (to / "choice.json").write_text(json.dumps(choice.to_json(), indent=1))
        parts.save_part(recommender, to)

    def _build_system(self, to: Path) -> None:
        system = load_object("itemspace.systems.registry:find")(self.recipe.system)
        made = system.build(self.data)
        parts.save_part(made, to)
        if isinstance(made, Recommender):
            (to / "recommends").touch()

    def _index_suggestions(self, given: Path, to: Path) -> None:
        log = self.data.interactions
        counts = np.zeros(len(self.data.catalog), np.int64) if log is None else log.counts()
        Suggesting.build(self.data.catalog, counts, given).save(to)

    def _retrievers(self, folders: dict[str, Path]) -> dict[str, Retriever]:
        """What the finished indexes make, words and vectors fused as the recipe says."""
        from itemspace.space.tuning import stated

        words = dense = None
        if "lexical" in folders:
            made = parts.make_words(self.recipe, self.columns)
            assert made is not None
            words = (made[0], parts.open_part(folders["lexical"]))
        if "dense" in folders:
            dense = (parts.open_part(folders["encoder"]), parts.open_part(folders["dense"]))
        return parts.compose(words, dense, self.recipe, stated(self.recipe))

    def _fit_reranker(self, folders: dict[str, Path], to: Path) -> None:
        assert self.recipe.rerank is not None
        scorer = self.recipe.rerank.make("scorers")
        if isinstance(scorer, LearnedRanker):
            found = {name: made for name, made in self._retrievers(folders).items() if name in ("lexical", "dense")}
            catalog = self.data.catalog
            for retriever in found.values():
                retriever.bind(catalog)
            scorer.using(Features(found, numeric_columns(catalog), shared=True).bind(catalog))
        scorer.fit(self.data, rng=self.recipe.seed)
        parts.save_part(scorer, to)

    def _tune_fusion(self, folders: dict[str, Path], to: Path) -> None:
        from itemspace.space.tuning import tune

        retrievers = self._retrievers(folders)
        (to / "fusion.json").write_text(json.dumps(tune(self.data, retrievers, self.recipe), indent=1))

    def _version(self, name: str) -> int:
        with find("stores", self.recipe.store.name).open(self.path / "stores" / name) as store:
            return int(store.version)

    def _tidy(self, artifact: Artifact) -> None:
        """Old generations, and stores that no remaining generation speaks of."""
        artifact.prune(keep=2)
        used = set()
        for manifest in (self.path / "generations").glob("*/manifest.json"):
            used.add(json.loads(manifest.read_text()).get("store"))
        for store in (self.path / "stores").iterdir():
            if store.name not in used:
                with suppress(ArtifactError):  # its database does not answer: the next build tries again
                    discard(store)


def place_store(path: Path, stage: Path) -> str:
    """Move a stage's finished store to a name in the Space at `path` that no generation uses yet."""
    home = path / "stores"
    home.mkdir(exist_ok=True)
    number = 1 + max((int(p.name) for p in home.iterdir() if p.name.isdigit()), default=0)
    name = f"{number:06d}"
    (stage / "store").rename(home / name)
    shutil.rmtree(stage)
    return name


def tidy_stages(stages: Path) -> None:
    """Delete the stores that killed builds left half written: a database would keep what only a folder names."""
    for store in stages.glob("*/.store-*/store"):
        discard(store)


@contextmanager
def claimed(path: Path, *, replace: bool) -> Iterator[Artifact]:
    """The artifact at `path`, held for one build.

    Raises:
        ArtifactError: something else is at `path`, or a Space is and `replace` is not given.
    """
    if (path / "CURRENT").exists() and not replace:
        raise ArtifactError(
            f"{path} is a Space already. Build with replace=True (--replace) to make a new generation of it "
            "(the old one answers until the new one is complete), or choose another path."
        )
    artifact = Artifact.create(path, type=TYPE, format=FORMAT, beside=BESIDE)
    lock = FileLock(path / "BUILDING", what=f"{path}")
    lock.acquire()
    try:
        yield artifact
    finally:
        lock.release()


def build_streamed(files: TableFiles, path: Path, recipe: Recipe, say: Say, *, replace: bool) -> None:
    """Build from files that may be larger than memory: the catalogue is brought into row order on disk first."""
    with claimed(path, replace=replace) as artifact:
        stages = Stages(path / "stages" / f"items-{files.key()}", say)
        staged = stages.folder("items", "reading the items", files.stage)
        Build(files.dataset(staged), path, recipe, say).run(artifact)
        stages.clear()


def pieces(table: pa.Table) -> Iterator[tuple[int, pa.Table]]:
    """A table of any size in slices of about `BATCH_BYTES`, with the row each begins at."""
    start = 0
    for batch in table.to_batches():
        step = rows_within(pa.Table.from_batches([batch]))
        for at in range(0, batch.num_rows, step):
            yield start + at, pa.Table.from_batches([batch.slice(at, step)])
        start += batch.num_rows


def _counted(start: int, part: pa.Table | np.ndarray) -> np.ndarray:
    return np.arange(start, start + len(part), dtype=np.int32)


def _events(log: Interactions) -> Iterator[pa.Table]:
    """Events with their external IDs, a piece at a time."""
    names = pa.array(log.events, pa.large_string()) if log.event is not None else None
    for start in range(0, len(log), EVENTS):
        part = slice(start, start + EVENTS)
        columns: dict[str, Any] = {
            "user": log.users.values.take(pa.array(log.user[part])),
            "item": log.items.values.take(pa.array(log.item[part])),
        }
        if log.time is not None:
            columns["time"] = pa.array(log.time[part], pa.int64())
        if names is not None and log.event is not None:
            columns["event"] = names.take(pa.array(log.event[part]))
        if log.weight is not None:
            columns["weight"] = pa.array(log.weight[part], pa.float32())
        yield pa.table(columns)
