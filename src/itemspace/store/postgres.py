"""`PostgresStore`: the record in PostgreSQL with pgvector, for data that a team's database should hold."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Self, cast

import pyarrow as pa
from pydantic import field_validator

from itemspace.core.contracts import Encoder
from itemspace.core.files import remove_tree
from itemspace.store import about, urls
from itemspace.store.columns import kept_schema
from itemspace.store.contract import StoreConfig
from itemspace.store.postgres_connections import Connections, driver
from itemspace.store.versioned_states import VersionedStore

if TYPE_CHECKING:
    from itemspace.store.postgres_entries import PostgresEntries
    from itemspace.store.postgres_search import PostgresText, PostgresVectors

KIND, FORMAT = "store.postgres", 1


class PostgresConfig(StoreConfig):
    """A store in PostgreSQL."""

    url: str = "env:ITEMSPACE_POSTGRES"
    """`env:NAME`, an environment variable that holds the address; or the address itself, if it carries no password."""

    @field_validator("url")
    @classmethod
    def _no_secret(cls, value: str) -> str:
        return urls.without_secret(value)


class PostgresStore(VersionedStore):
    """A `Store` in one schema of a PostgreSQL database (14 or newer) with pgvector (0.8 or newer).

    ```python
    store = PostgresStore.create(folder, items_schema=schema, id_column="id", config=PostgresConfig(url="env:SHOP_DB"))
    ```
    The folder holds only which database and schema it is. One write is one transaction of the database, so it is
    acknowledged when that says so; the writer's place is an advisory lock, held over all machines that reach the database.
    """

    config: PostgresConfig

    @classmethod
    def create(
        cls, path: str | Path, *, items_schema: pa.Schema, id_column: str, config: StoreConfig | None = None
    ) -> Self:
        kept = kept_schema(items_schema, id_column)
        made = cls(Path(path), config)
        about.refuse_taken(made.location)
        namespace = f"itemspace_{secrets.token_hex(8)}"
        made._attach(kept, id_column, namespace)
        try:
            made._entries.create()  # type: ignore[attr-defined]
            made.location.mkdir(parents=True, exist_ok=True)
            made._entries.hold()
            more = {"url": made.config.url, "namespace": namespace}
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
        values = {**(config.model_dump() if config else {}), "url": str(said.get("url"))}
        opened = cls(folder, cast("PostgresConfig", cls.config_class()(**values)))
        opened._attach(schema, id_column, str(said.get("namespace")))
        try:
            opened._now()
        except BaseException:
            opened.close()
            raise
        return opened

    def _attach(self, schema: pa.Schema, id_column: str, namespace: str) -> None:
        driver()
        from itemspace.store.postgres_entries import PostgresEntries

        self._schema, self._id_column = schema, id_column
        what = str(self.location)
        connections = Connections(self.config.url, lock=namespace, what=what, fsync=self.config.fsync)
        self._entries = PostgresEntries(connections, namespace, schema)

    def searching(self, encoder: Encoder, name: str) -> PostgresVectors:
        from itemspace.store.postgres_search import PostgresVectors

        self._kept(self._now(), name)
        made = PostgresVectors(cast("PostgresEntries", self._entries), encoder, name)
        made.prepare()
        return made

    def words(self, columns: list[str], *, language: str = "simple") -> PostgresText:
        """The database's full text as a retriever over columns of text; `language` is one of its configurations.

        Raises:
            RequestError: a column is none of text.
        """
        from itemspace.store.postgres_search import PostgresText

        made = PostgresText(cast("PostgresEntries", self._entries), columns, language)
        made.prepare()
        return made

    @classmethod
    def delete(cls, path: str | Path) -> None:
        if (Path(path) / about.NAME).exists():
            with cls.open(path) as store:
                store._entries.drop()
        remove_tree(Path(path))
