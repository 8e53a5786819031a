"""What a job reads, frozen when it is planned: a dataset as mapped files that every worker opens."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from itemspace.core.catalog import Catalog
from itemspace.core.dataset import Dataset
from itemspace.core.errors import RequestError, shown
from itemspace.core.files import as_path, load_array, load_arrays, read_json, save_arrays, write_json_atomic
from itemspace.core.ids import Ids
from itemspace.core.interactions import Impressions, Interactions
from itemspace.core.judgments import Judgments
from itemspace.core.schema import Schema
from itemspace.data.staged import IDS, ITEMS, MappedCatalog, mapped_ids, mapped_table, write_ids, write_items
from itemspace.data.table_files import TableFiles, found_at
from itemspace.space import Space
from itemspace.space.given import load_queries, save_given
from itemspace.space.layout import adopt

Source = Space | Dataset | TableFiles | str | Path
_EVENTS = ("user", "item", "time", "event", "weight", "session")
_SHOWN = ("request", "item", "position", "outcome", "query", "user", "time")
_USERS, _QUERIES, _CONTEXT = "users.arrow", "queries.arrow", "context.parquet"


def is_space(source: object) -> bool:
    """Whether a path is a Space's."""
    return isinstance(source, (str, Path)) and (as_path(source) / "CURRENT").exists()


@contextmanager
def sourced(source: Source, job: Path) -> Iterator[tuple[Dataset, dict[str, Any] | None]]:
    """What a source holds, and the recipe where it is a Space. Files larger than memory are staged beside `job` meanwhile.

    Raises:
        RequestError: the source is nothing that can be read.
    """
    if is_space(source):
        with Space.open(str(source)) as opened:
            yield opened.dataset(), opened.recipe.to_toml_dict()
        return
    if isinstance(source, Space):
        yield source.dataset(), source.recipe.to_toml_dict()
        return
    if isinstance(source, (str, Path)):
        source = found_at(source)
    if isinstance(source, TableFiles) and source.streamed:
        job.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=job.parent, prefix=f".{job.name}-staged-") as folder:
            source.stage(Path(folder))
            yield source.dataset(Path(folder)), None
        return
    data = source.read() if isinstance(source, TableFiles) else source
    if not isinstance(data, Dataset):
        raise RequestError(f"a job reads a Space, a Dataset or a path; got {type(data).__name__} {shown(repr(data))}.")
    yield data, None


def freeze(data: Dataset, folder: Path) -> None:
    """Write a dataset so that `thaw` maps it: the same rows, the same order, the same fingerprint."""
    catalog = data.catalog
    if isinstance(catalog, MappedCatalog):
        adopt(catalog.folder, folder, only=(ITEMS, IDS))
    else:
        write_items([catalog.table], folder)
        write_ids(catalog.ids, folder)
    if catalog.live is not None:
        np.save(folder / "live.npy", catalog.live)
    log, shown = data.interactions, data.impressions
    if log is not None:
        _write_arrays(log, _EVENTS, folder / "log")
        _write_names(log.users.values, folder / "log" / _USERS)
    if shown is not None:
        _write_arrays(shown, _SHOWN, folder / "shown")
        _write_names(pa.array(shown.queries, pa.large_string()), folder / "shown" / _QUERIES)
        if shown.users is not None:
            _write_names(shown.users.values, folder / "shown" / _USERS)
        if shown.context is not None:
            pq.write_table(shown.context, folder / "shown" / _CONTEXT)
    given = folder / "given"
    given.mkdir()
    judged = data.judgments is not None
    if data.queries is not None and not judged:  # queries are read back with what was judged of them, here nothing
        nothing = np.zeros(0, np.int32)
        data = replace(data, judgments=Judgments.from_pairs(nothing, nothing, None, len(data.queries)))
    save_given(replace(data, impressions=None), given)
    digest = catalog.fingerprint if isinstance(catalog, MappedCatalog) else None
    about = {
        "name": data.name, "source": dict(data.source), "schema": catalog.schema.to_json(), "digest": digest,
        "events": None if log is None else list(log.events), "judged": judged,
    }  # fmt: skip
    write_json_atomic(folder / "dataset.json", json.loads(json.dumps(about, default=str)))


def thaw(folder: Path) -> Dataset:
    """What `freeze` wrote, mapped."""
    about = read_json(folder / "dataset.json")
    schema, ids, table = Schema.from_json(about["schema"]), mapped_ids(folder), mapped_table(folder / ITEMS)
    live = load_array(folder / "live.npy") if (folder / "live.npy").exists() else None
    catalog: Catalog = Catalog(table, schema, ids, live)
    if about["digest"] is not None:
        catalog = MappedCatalog(table, schema, ids, live, digest=about["digest"], folder=folder)
    log = shown = None
    if about["events"] is not None:
        users = _read_ids(folder / "log" / _USERS)
        log = Interactions(users=users, items=ids, events=tuple(about["events"]), **_arrays(_EVENTS, folder / "log"))
    if (folder / "shown").exists():
        at = folder / "shown"
        shown = Impressions(
            items=ids,
            queries=tuple(_read_names(at / _QUERIES).to_pylist()),
            users=_read_ids(at / _USERS) if (at / _USERS).exists() else None,
            context=pq.read_table(at / _CONTEXT) if (at / _CONTEXT).exists() else None,
            **_arrays(_SHOWN, at),
        )
    judged = load_queries(folder / "given", ids)
    queries, judgments = judged if judged is not None else (None, None)
    judgments = judgments if about["judged"] else None
    return Dataset(catalog, log, shown, queries, judgments, about["name"], about["source"])


def _write_arrays(log: Interactions | Impressions, names: tuple[str, ...], folder: Path) -> None:
    folder.mkdir()
    save_arrays(folder, **{name: getattr(log, name) for name in names if getattr(log, name) is not None})


def _arrays(names: tuple[str, ...], folder: Path) -> dict[str, Any]:
    """The columns that were there, the others None."""
    return dict.fromkeys(names) | load_arrays(folder)


def _read_names(path: Path) -> pa.Array:
    column = mapped_table(path).column("name")
    return column.chunk(0) if column.num_chunks else column.combine_chunks()


def _read_ids(path: Path) -> Ids:
    return Ids(_read_names(path), kind="user")


def _write_names(names: pa.Array, path: Path) -> None:
    """Texts in one piece, so that they can be mapped."""
    table = pa.table({"name": names})
    with pa.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table, max_chunksize=max(len(names), 1))


def live_only(catalog: Catalog) -> Catalog:
    """The items that exist."""
    return (
        catalog
        if catalog.live is None or catalog.live.all()
        else replace(catalog.take(np.flatnonzero(catalog.live)), live=None)
    )


def rows_of(catalog: Catalog, start: int, stop: int) -> Catalog:
    """Items `start` to `stop`, without a copy of their columns."""
    live = None if catalog.live is None else catalog.live[start:stop]
    ids = Ids(catalog.ids.values.slice(start, stop - start))
    return Catalog(catalog.table.slice(start, stop - start), catalog.schema, ids, live)
