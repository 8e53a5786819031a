"""`Space`: the front door. External IDs in, external IDs out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa

from itemspace.core.artifacts import Artifact
from itemspace.core.asking import check_k
from itemspace.core.catalog import Catalog
from itemspace.core.contracts import Index, Retriever
from itemspace.core.dataset import Dataset
from itemspace.core.errors import ArtifactError, FormatVersionError, RequestError, nearest
from itemspace.core.files import as_path
from itemspace.core.hits import Hits
from itemspace.core.plugins import find
from itemspace.core.ragged import Ragged
from itemspace.core.requests import History, Requests
from itemspace.core.taking import take_rows
from itemspace.data.table_files import TableFiles, found_at
from itemspace.recipe import Recipe
from itemspace.search import FacetRequest, PageRequest, answer
from itemspace.space import asked as given
from itemspace.space import changes, reasons
from itemspace.space.build import Build, build_streamed, claimed
from itemspace.space.layout import DERIVED, FORMAT, TYPE
from itemspace.space.live import Live
from itemspace.space.lock import ReadWriteLock
from itemspace.store.contract import Store

if TYPE_CHECKING:
    from itemspace.core.report import Report
    from itemspace.core.selection import Selection
    from itemspace.core.where import Expression

    Filter = str | Expression | Selection | None


def _quiet(_: str) -> None:
    return


@contextmanager
def _readable(home: Path) -> Iterator[None]:
    """Turn what reading a damaged file raises into one error that says what to do about it."""
    try:
        yield
    except FormatVersionError:
        raise
    except (ArtifactError, OSError, ValueError) as error:
        raise ArtifactError(
            f"{home} cannot be read ({str(error).rstrip('.')}).\n"
            "  Restore it from a copy, or build it again with replace=True (--replace)."
        ) from error


class Space:
    """One catalogue with everything that answers from it.

    ```python
    data  = its.Dataset.read("amazon-beauty", root="data")
    space = its.Space.build(data, path="shop.space")
    hits  = space.search("waterproof boots", k=10, where="price < 80 and in_stock")
    hits  = space.recommend(history=["B00A", "B01C"], k=10)
    space.add(items); space.update(prices); space.remove(["B00A"]); space.log(events)   # live at once
    ```

    Reads may come from several threads. One process at a time may write; readers elsewhere follow with `refresh()`.
    """

    def __init__(self, artifact: Artifact, store: Store, live: Live) -> None:
        """Use `Space.build` or `Space.open`."""
        self.path = artifact.path
        self._artifact, self._store, self._live = artifact, store, live
        self._lock = ReadWriteLock()

    # Making and opening

    @classmethod
    def build(
        cls,
        data: Dataset | TableFiles | str | Path,
        *,
        path: str | Path,
        recipe: str | Path | Mapping[str, Any] | Recipe | None = None,
        system: str | None = None,
        replace: bool = False,
        say: Callable[[str], object] = _quiet,
    ) -> Self:
        """Build a Space at `path` and open it. Killed, it goes on where it stopped when called again.

        data: a dataset, or the path of an items file or a folder that `Dataset.read` knows (`TableFiles` names several
        files). Files larger than memory are streamed: see `TableFiles`. recipe: a TOML file, a mapping, or None for the defaults. system: the slug of a published system to serve.
        replace: make a new generation of a Space that is already there; the old one answers until the new is complete.
        say: called with a line per step.

        Raises:
            RecipeError: the recipe does not say something buildable.
            ArtifactError: `path` is taken, or another process builds there.
        """
        plan, home = Recipe.load(recipe), as_path(path)
        if isinstance(data, (str, Path)):
            data = found_at(data)
        if not isinstance(data, (Dataset, TableFiles)):
            raise RequestError(
                f"a Space is built from a Dataset or a path, got {type(data).__name__}. Read one: Dataset.read(folder), "
                "or read_tables(items_file) from itemspace.data.tables."
            )
        if system is not None:
            plan = Recipe.load(plan.to_toml_dict() | {"system": system})
        if isinstance(data, TableFiles) and data.streamed:
            build_streamed(data, home, plan, say, replace=replace)
            return cls.open(path)
        build = Build(data.read() if isinstance(data, TableFiles) else data, home, plan, say)
        with claimed(home, replace=replace) as artifact:
            build.run(artifact)
        return cls.open(path)

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Open a Space, for asking and (one process at a time) for changing.

        Raises:
            ArtifactError: there is no Space at `path`, or it is damaged.
            FormatVersionError: a newer itemspace built it; the message names the version.
        """
        home = as_path(path)
        if (home / "stages").exists() and not (home / "CURRENT").exists():
            raise ArtifactError(
                f"{home}: its build did not finish. Run the same build again; it goes on where it stopped."
            )
        artifact = Artifact.open(home, type=TYPE, format=FORMAT, derived=DERIVED)
        manifest = artifact.manifest
        with _readable(home):
            store: Store = find("stores", manifest["store_kind"]).open(home / "stores" / manifest["store"])
        try:
            with _readable(home):
                return cls(artifact, store, Live.load(artifact, store))
        except BaseException:
            store.close()
            raise

    def close(self) -> None:
        """Give up the writer's place and the open files."""
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Space({str(self.path)!r}: {self.describe()})"

    def describe(self) -> str:
        """One line: how much of what, and which parts answer."""
        live = self._live
        told = [f"{live.catalog.count:,} items", f"{len(live.histories):,} users"]
        if live.words is not None:
            told.append(f"words by {type(live.words[1]).__name__}")
        if live.encoder is not None and live.dense is not None:
            dimension = live.encoder.space.dimension
            told.append(f"vectors by {type(live.encoder).__name__} ({dimension}) in {type(live.dense).__name__}")
        if live.reranker is not None:
            told.append(f"reranked by {type(live.reranker).__name__}")
        if live.recommender is not None:
            told.append(f"recommendations by {type(live.recommender).__name__}")
        return ", ".join(told)

    # What it is made of

    @property
    def catalog(self) -> Catalog:
        """The items as they are now, removed ones marked in `catalog.live`."""
        return self._live.catalog

    @property
    def recipe(self) -> Recipe:
        return self._live.recipe

    @property
    def version(self) -> int:
        """The store version that answers reflect."""
        return self._live.version

    def retriever(self, by: str | None = None) -> Retriever:
        """What `search(by=...)` asks: "reranked", "hybrid", "lexical", "dense" or "system"; by default the first there is
        of "system", "reranked", "hybrid", "lexical", "dense".

        Raises:
            RequestError: the Space has no such part.
        """
        made = self._live.retrievers
        if by is not None:
            by = given.name(by, "`by`")
        elif set(made) == {"browse"}:
            raise RequestError("this Space has no words to search by; leave the query blank to list its items.")
        else:
            by = next(name for name in ("system", "reranked", "hybrid", "lexical", "dense") if name in made)
        if by not in made:
            known = [name for name in made if name != "browse"]
            raise RequestError(f"this Space does not search by `{by}`.{nearest(by, known)} It has: {', '.join(known)}.")
        return made[by]

    @property
    def retrievers(self) -> Mapping[str, Retriever]:
        """Everything this Space can search with, by name."""
        return self._live.retrievers

    def exact_index(self) -> Index:
        """The Space's vectors in an exhaustive index: what an approximate one is held against."""
        with self._lock.read():
            return self._live.exact_index(self._store)

    @property
    def recommender(self) -> Any:
        """The recommender.

        Raises:
            RequestError: the Space was built without events.
        """
        if self._live.recommender is None:
            raise RequestError("this Space was built without events; build it with interactions to recommend.")
        return self._live.recommender

    # Asking

    def search(
        self,
        query: str | Sequence[str],
        *,
        k: int = 10,
        where: Filter = None,
        by: str | None = None,
        facets: Sequence[str] | FacetRequest | None = None,
        sort: str | Sequence[str] | None = None,
        offset: int = 0,
        group_by: str | None = None,
        explain: bool = False,
    ) -> Hits:
        """The k best items for each query, among those `where` allows: the filter applies before the cut.

        by: "hybrid" (words and vectors fused), "lexical", "dense", "reranked" (the first of these with its first hits
        reordered by what was learned from clicks), or the "system" it was built with; by default the fullest of these
        that exists. facets: columns counted over everything that matches. sort: columns ("price", "-rating") that order what matches instead of relevance. offset: hits to skip.
        group_by: one hit per value of a column (variants of one product). A blank query lists items by popularity.

        Raises:
            FilterError: `where` does not parse or fit. RequestError: an impossible k, offset, sort, facet or `by`.
        """
        check_k(k)
        texts = given.texts(query)
        page = PageRequest(
            limit=k, offset=offset, sort=given.sorting(sort), group_by=group_by, facets=given.facets(facets)
        )
        with self._lock.read():
            blank = not texts[0].strip()
            retriever = self._live.retrievers["browse"] if blank and by is None else self.retriever(by)
            hits = answer(self._live.retrievers["browse"] if blank else retriever, Requests.texts(texts), page, where)
        return hits if explain else replace(hits, explanation=None)

    def recommend(
        self,
        *,
        history: Sequence[str] | Sequence[Sequence[str]] | None = None,
        user: str | Sequence[str] | None = None,
        k: int = 10,
        where: Filter = None,
        exclude_seen: bool = True,
        explain: bool = False,
    ) -> Hits:
        """The k best items for a history (item IDs, oldest first), a known user, or a batch of either.

        A history given wins over the user's own. An unknown user, or an empty history, gets what is popular, and
        `explanation` says so. What is in the history does not come back unless `exclude_seen` is False.

        Raises:
            RequestError: an item of the history is unknown, or nothing was asked.
        """
        check_k(k)
        with self._lock.read():
            requests, notes = given.recommendations(self._live, history, user)
            asked = requests.excluding_history() if exclude_seen else requests
            hits: Hits = self.recommender.search(asked, k, where)
            told = reasons.recommended(self._live, requests, hits) if explain else None
        explanation = {"notes": notes, "because": told} if explain else ({"notes": notes} if notes else None)
        return replace(hits, ids=self._live.catalog.ids, explanation=explanation)

    def similar(self, item: str | Sequence[str], *, by: str = "text", k: int = 10, where: Filter = None) -> Hits:
        """Items like each given item: `by` "text" (their words' vectors) or "behavior" (what users did with both).

        Raises:
            RequestError: the item is unknown, or the Space has no such representation.
        """
        check_k(k)
        with self._lock.read():
            live = self._live
            names = given.ids(item, "similar to what")
            if not names:
                raise RequestError("similar to what? Give at least one item ID.")
            rows = live.catalog.rows(names)
            itself = Ragged(rows, np.arange(len(rows) + 1))
            if by == "behavior":
                hits: Hits = self.recommender.search(Requests(history=History(itself), exclude=itself), k, where)
            elif by == "text":
                if live.encoder is None or live.dense is None:
                    raise RequestError("this Space has no vectors of words; build it with an encoder.")
                vectors = live.encoder.encode(live.readable(live.catalog.take(rows)), role="item")
                within = live.catalog.where(where).excluding(itself)
                hits = live.dense.search(vectors, k, within)
            else:
                hint = nearest(given.name(by, "`by`"), ["text", "behavior"])
                raise RequestError(f"similar by `{by}`?{hint} Choose text or behavior.")
        return replace(hits, ids=live.catalog.ids)

    def explain(
        self,
        item: str,
        *,
        query: str | None = None,
        history: Sequence[str] | None = None,
        user: str | None = None,
    ) -> dict[str, Any]:
        """Why an item answers a query, or is recommended to a history or user: its rank, score, terms, neighbors.

        Raises:
            RequestError: the item is unknown, or neither a query nor a history nor a user is given.
        """
        if (query is None) == (history is None and user is None):
            raise RequestError("explain an answer to what? Give a query, or else a history or a user.")
        names = given.ids(item, "explain which item")
        if len(names) != 1:
            raise RequestError(f"explain takes one item at a time, got {len(names)}.")
        query = None if query is None else given.name(query, "a query to explain")
        with self._lock.read():
            row = int(self._live.catalog.rows(names)[0])
            if query is not None:
                return reasons.of_search(self._live, row, query)
            requests, notes = given.recommendations(self._live, history, user)
            return reasons.of_recommendation(self._live, row, requests, notes)

    # Changing

    def add(self, items: pa.Table | Sequence[Mapping[str, Any]]) -> int:
        """Add items, or replace those whose ID is known; searchable when the call returns. Returns how many.

        Raises:
            DataError, SchemaError: an ID is missing or given twice, a column is unknown, a value does not fit. Nothing
                of the call is written then. NaN counts as missing; an infinite number is refused.
        """
        return self._change(lambda: changes.add(self._live, self._store, items))

    def update(self, items: pa.Table | Sequence[Mapping[str, Any]]) -> int:
        """Change some columns of known items. Vectors are made anew only where a column of words changes.

        Raises:
            DataError: an ID is unknown or given twice, or a value does not fit.
        """
        return self._change(lambda: changes.update(self._live, self._store, items))

    def remove(self, items: Sequence[str]) -> int:
        """Remove items; they never come back in an answer. Returns how many.

        Raises:
            RequestError: an ID is unknown.
        """
        names = given.ids(items, "remove which items")
        return self._change(lambda: changes.remove(self._live, self._store, names))

    def log(self, events: pa.Table | Sequence[Mapping[str, Any]]) -> int:
        """Record events (`user`, `item`, and where known `time`, `event`, `weight`).

        A known user's next recommendation already follows from them; an unknown user becomes known. Without a time, now.

        Raises:
            DataError: a user or item is missing, or the item is unknown.
        """
        now = int(time.time())
        return self._change(lambda: changes.log(self._live, self._store, events, now))

    def refresh(self) -> bool:
        """Follow what another process wrote. Returns whether anything changed."""
        if self._store.version == self._live.version:
            return False
        with self._lock.write():
            self._live.follow(self._store)
        return True

    def _change(self, apply: Callable[[], int]) -> int:
        with self._lock.write(), self._store.writing():
            self._live.follow(self._store)
            count = apply()
            self._live.follow(self._store)
            return count

    def snapshot(self, tag: str) -> int:
        """Name the present state of items, vectors and events, so that `restore` can bring it back."""
        return self._store.snapshot(tag)

    def restore(self, to: str | int) -> int:
        """Bring back the items, vectors and events of a snapshot (roll back a bad import).

        Raises:
            DataError: there is no such snapshot or version.
        """
        if isinstance(to, bool) or not isinstance(to, (str, int)):
            raise RequestError(f"restore what? Give a snapshot's name or a version, got {to!r}.")

        def apply() -> int:
            return self._store.restore(to)

        return self._change(apply)

    # Measuring and showing

    def evaluate(self, *, k: int = 10) -> dict[str, Report]:
        """Measure what this Space answers: "search" on its judged queries (on the half that tuned nothing), and
        "recommendation" on held-out events with the recipe's recommender fitted to the rest, baselines beside both.

        Raises:
            RequestError: there is nothing to measure against.
        """
        from itemspace.space.evaluation import evaluate

        check_k(k)
        return evaluate(self, k=k)

    def dataset(self) -> Dataset:
        """Everything the Space holds, as a dataset (for another split, model or recipe)."""
        return changes.dataset_of(self._live, self._store, name=self.path.name)

    def fields(self, rows: Sequence[int], columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """The items at `rows` as dictionaries of `columns` (default: all).

        Raises:
            SchemaError: no such column. RequestError: a row the catalogue does not have.
        """
        catalog = self._live.catalog
        if len(rows) and not (min(rows) >= 0 and max(rows) < len(catalog)):
            raise RequestError(f"rows run from 0 to {len(catalog) - 1:,}, got {min(rows):,} to {max(rows):,}.")
        for name in columns or ():
            catalog.schema[name]
        table = catalog.table.select(list(columns)) if columns is not None else catalog.table
        return take_rows(table, np.asarray(rows, np.int64)).to_pylist()

    def shown_columns(self) -> list[str]:
        """The few columns a person wants beside an ID: what it is called, of which kind, at what price."""
        schema = self._live.catalog.schema
        titles = [name for name in schema.columns("text") if name.lower() in ("title", "name")]
        shown = (titles or schema.columns("text"))[:1] + schema.columns("category")[:1]
        shown += [name for name in schema.columns("number") if "price" in name.lower()][:1]
        shown += [name for name in schema.columns("boolean") if "stock" in name.lower()][:1]
        return shown
