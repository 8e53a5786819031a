"""`MilvusStore`: the record in Milvus, embedded in a folder (milvus-lite) or on a server or cluster by its address."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Self, cast

import pyarrow as pa
from pydantic import field_validator

from itemspace.core.contracts import Encoder
from itemspace.core.extras import require
from itemspace.core.files import FileLock, remove_tree
from itemspace.store import about, urls
from itemspace.store.columns import kept_schema
from itemspace.store.contract import StoreConfig
from itemspace.store.milvus_connection import MilvusConnection
from itemspace.store.versioned_states import VersionedStore

if TYPE_CHECKING:
    from itemspace.store.milvus_entries import MilvusEntries
    from itemspace.store.milvus_search import MilvusVectors

KIND, FORMAT = "store.milvus", 1


class MilvusConfig(StoreConfig):
    """A store in Milvus."""

    url: str | None = None
    """None for an embedded engine in the store's folder; else the address of a server, or `env:NAME` that holds it."""
    index: str = "HNSW"
    """Where Milvus searches: its index of vectors, "HNSW", "IVF_FLAT", or "FLAT" for exhaustive search."""
    token: str | None = None
    """`env:NAME`, where the server asks for a token or "user:password"."""

    @field_validator("url")
    @classmethod
    def _no_secret(cls, value: str | None) -> str | None:
        return None if value is None else urls.without_secret(value)

    @field_validator("token")
    @classmethod
    def _only_named(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith("env:"):
            raise ValueError('a token would be kept in the Space\'s files; name a variable that holds it: "env:NAME"')
        return None if value is None else urls.without_secret(value)


class MilvusStore(VersionedStore):
    """A `Store` in collections of Milvus.

    ```python
    store = MilvusStore.create(folder, items_schema=schema, id_column="id")                 # embedded
    store = MilvusStore.create(folder, ..., config=MilvusConfig(url="env:SHOP_MILVUS"))     # a server
    ```
    Milvus has no transactions; `milvus_entries` says how a write still is all or nothing. Its limits:

    - One writer is a lock in the store's folder, so writers must share that folder; two copies of it on two machines
      would both write.
    - After a power cut an embedded store holds what was acknowledged (`fsync`); a server's own settings decide there.
    - A read of everything, and tidying, read every entry through the client: it is for catalogues up to some 100,000.
    """

    config: MilvusConfig

    @classmethod
    def create(
        cls, path: str | Path, *, items_schema: pa.Schema, id_column: str, config: StoreConfig | None = None
    ) -> Self:
        kept = kept_schema(items_schema, id_column)
        made = cls(Path(path), config)
        about.refuse_taken(made.location)
        made.location.mkdir(parents=True, exist_ok=True)
        namespace = f"itemspace_{secrets.token_hex(8)}"
        made._attach(kept, id_column, namespace)
        try:
            made._entries.create()  # type: ignore[attr-defined]
            made._entries.hold()
            more = {"url": made.config.url, "token": made.config.token, "namespace": namespace}
            about.write(made.location, about.described(KIND, FORMAT, kept, id_column, **more))
        except BaseException:
            made.close()
            raise
        return made

    @classmethod
    def open(cls, path: str | Path, *, config: StoreConfig | None = None) -> Self:
        folder = Path(path)
        said = about.read(folder)
        schema, id_column = about.columns(folder, said, KIND, FORMAT)
        place = {"url": said.get("url"), "token": said.get("token")}
        values = {**(config.model_dump() if config else {}), **place}
        opened = cls(folder, cast("MilvusConfig", cls.config_class()(**values)))
        opened._attach(schema, id_column, str(said.get("namespace")))
        try:
            opened._now()
        except BaseException:
            opened.close()
            raise
        return opened

    def _attach(self, schema: pa.Schema, id_column: str, namespace: str) -> None:
        require("pymilvus", extra="milvus", needed_for="A store in Milvus")
        from itemspace.store.milvus_entries import MilvusEntries

        self._schema, self._id_column = schema, id_column
        what = str(self.location)
        connection = MilvusConnection(self.location, self.config.url, self.config.token, what)
        lock = FileLock(self.location / "LOCK", what=what)
        self._entries = MilvusEntries(connection, namespace, schema, lock, fsync=self.config.fsync)

    def searching(self, encoder: Encoder, name: str) -> MilvusVectors:
        from itemspace.store.milvus_search import MilvusVectors

        self._kept(self._now(), name)
        lock = FileLock(self.location / "SEARCH", what=f"the search of {self.location}")
        entries = cast("MilvusEntries", self._entries)
        return MilvusVectors(self, entries, encoder, name, lock=lock, index=self.config.index)

    @classmethod
    def delete(cls, path: str | Path) -> None:
        if (Path(path) / about.NAME).exists():
            with cls.open(path) as store:
                if store.config.url is not None:
                    store._entries.drop()
        remove_tree(Path(path))
