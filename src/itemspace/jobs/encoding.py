"""Encoding a catalogue: the encoder fitted once, then chunk by chunk, into a folder or a Space's store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from itemspace.core.catalog import Catalog
from itemspace.core.contracts import Encoder
from itemspace.core.dataset import Dataset
from itemspace.core.errors import ContractError, RecipeError, RequestError
from itemspace.core.files import as_path, load_array, read_json, write_json_atomic
from itemspace.core.keeping import open_part, save_part
from itemspace.core.vectors import Dense
from itemspace.data.staged import write_ids
from itemspace.jobs.chunks import Chunk, Phase
from itemspace.jobs.folder import Job, job_folder
from itemspace.jobs.inputs import Source, freeze, is_space, live_only, rows_of, sourced, thaw
from itemspace.jobs.results import joined_arrays, place_folder
from itemspace.jobs.training import fit_part
from itemspace.jobs.work import Work
from itemspace.recipe import Recipe
from itemspace.space import Space, parts
from itemspace.space.build import VECTORS

CHUNK_ROWS = 4_096
"""Items of a chunk: as many as a local build encodes at a time, so that the vectors are the same to the last bit."""


def plan_encode(
    source: Source,
    out: str | Path,
    *,
    recipe: str | Path | Mapping[str, Any] | Recipe | None = None,
    name: str | None = None,
    chunk_rows: int = CHUNK_ROWS,
    job: str | Path | None = None,
) -> Job:
    """A job that encodes every item of `source` (a Space, a dataset, or the path of either).

    out: a folder to be made (`read_vectors` reads it), or a Space, whose store then keeps the vectors under `name`. recipe:
    names the encoder and the columns it reads, as for a build; by default a Space's own encoder, already fitted, or the
    defaults. job: where the job lies; by default beside `out`.

    Raises:
        RecipeError: the recipe has no encoder. RequestError: `name` and `out` do not go together.
        ArtifactError: `out` or `job` is taken.
    """
    into = is_space(out)
    if into != (name is not None):
        told = "vectors in a Space need a name (name=..., --name)" if into else "a name is for vectors kept in a Space"
        raise RequestError(f"{told}; {out} is {'a' if into else 'not a'} Space.")
    target = as_path(out)
    home = job_folder(target.with_name(f"{target.name}.{name}") if into else target, job)
    version = 0
    if into:
        with Space.open(target) as opened:
            version = opened.version
    with sourced(source, home) as (data, made_with):
        plan = Recipe.load(recipe if recipe is not None else made_with)
        if plan.encoder is None:
            raise RecipeError("the recipe has no encoder; name one: [encoder] name = ...")
        columns = parts.words_of(data.catalog, plan)
        if not columns:
            raise RecipeError("the items have no column of words to encode; name some with `text` in the recipe.")
        read = Dataset(live_only(parts.readable(data.catalog, columns)), name=data.name)
        if len(read.catalog) == 0:
            raise RequestError("there is no item to encode.")
        own = None if recipe is not None or made_with is None else _encoder_of(source)

        def prepare(folder: Path) -> Sequence[Phase]:
            freeze(read, folder)
            if own is not None:
                save_part(own, folder / "encoder")
            write_json_atomic(folder / "encoding.json", {"columns": columns, "version": version})
            fits = [] if own is not None else [Phase("fit", 1, 1, ("encoder",), "folder")]
            return [*fits, Phase("encode", len(read.catalog), chunk_rows)]

        options = {"name": name, "chunk_rows": chunk_rows, "into": into, "recipe": plan.to_toml_dict()}
        print_ = None if own is None else own.space.to_json()
        return Job.plan(home, Encode.PATH, [read.fingerprint, print_], options, target, prepare, into=into)


def _encoder_of(source: Any) -> Encoder:
    """A Space's encoder.

    Raises:
        RequestError: it has none.
    """
    opened = source if isinstance(source, Space) else Space.open(source)
    try:
        found: Encoder = opened.retriever("dense").encoder  # type: ignore[attr-defined]
        return found
    finally:
        if opened is not source:
            opened.close()


class Encode(Work):
    """Items to vectors."""

    PATH = "itemspace.jobs.encoding:Encode"

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self.recipe = Recipe.load(job.options["recipe"])
        self._about = read_json(job.inputs / "encoding.json")
        self._data = thaw(job.inputs)
        self._encoder: Encoder | None = None

    @property
    def readable(self) -> Catalog:
        """The items as the encoder sees them."""
        return parts.readable(self._data.catalog, self._about["columns"])

    @property
    def encoder(self) -> Encoder:
        """The fitted encoder."""
        if self._encoder is None:
            fitted = any(phase.name == "fit" for phase in self.job.phases)
            at = self.job.output(self.job.phase("fit")[0]) if fitted else self.job.inputs / "encoder"
            made: Encoder = open_part(at)
            self._encoder = made
        return self._encoder

    def fit(self, chunk: Chunk, folder: Path, scratch: Path) -> None:
        fit_part("encoder", self._data, self.recipe, folder, scratch)

    def make(self, chunk: Chunk) -> np.ndarray:
        made = self.encoder.encode(rows_of(self.readable, chunk.start, chunk.stop), role="item")
        if not isinstance(made, Dense):
            raise ContractError(f"{type(self.encoder).__name__} makes {type(made).__name__}, not one vector per item.")
        return np.asarray(made.values)

    def names(self, chunk: Chunk) -> list[str]:
        ids = self._data.catalog.ids.values.slice(chunk.start, len(chunk))
        return [str(one) for one in ids.to_pylist()]

    def finish(self) -> dict[str, Any]:
        if self.job.options["into"]:
            return self._store()
        return place_folder(self.job, self._folder)

    def _folder(self, to: Path) -> dict[str, Any]:
        total = len(self._data.catalog)
        values = joined_arrays(self.job.outputs("encode"), total, to / "vectors.npy")
        write_ids(self._data.catalog.ids, to)
        save_part(self.encoder, to / "encoder")
        return {"rows": total, "dimension": int(values.shape[1]), "space": self.encoder.space.to_json()}

    def _store(self) -> dict[str, Any]:
        """Write the vectors into the Space's store in one write. Items that changed meanwhile are left out, and counted."""
        name = str(self.job.options["name"])
        with Space.open(self.job.out) as space, space.writing():
            store = space._store
            done = store.meta(f"job.{self.job.key}")
            if done is not None:
                return dict(done)
            own = space.retrievers.get("dense")
            if name == VECTORS and (own is None or own.encoder.space != self.encoder.space):  # type: ignore[attr-defined]
                raise ContractError(
                    f"`{VECTORS}` are the vectors that the Space searches by, and this is another encoder: choose another "
                    "name, or build the Space anew with this recipe."
                )
            changes = store.changes(self._about["version"])
            rows = space.catalog.ids.find(self._data.catalog.ids.values)
            alive = rows >= 0 if space.catalog.live is None else (rows >= 0) & space.catalog.live[np.maximum(rows, 0)]
            keep = alive & ~np.isin(rows, changes.rows)
            store.load_vectors(name, self._pieces(rows, keep))
            told = {"rows": int(keep.sum()), "left_out": int((~keep).sum()), "name": name}
            store.put_meta(f"job.{self.job.key}", told)
        return told

    def _pieces(self, rows: np.ndarray, keep: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for chunk in self.job.phase("encode"):
            part = slice(chunk.start, chunk.stop)
            chosen = keep[part]
            if chosen.any():
                yield rows[part][chosen], np.asarray(load_array(self.job.output(chunk))[chosen])
