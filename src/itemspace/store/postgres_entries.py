"""Entries and commits in PostgreSQL: one schema per store, one table per log, one transaction per write.

```text
commits        version, written, state (what `State.to_json` says)
items          _row, _from, _until, _put, _live, and the columns of items
vectors-NAME   _row, _from, _until, _live, vector (pgvector's vector or halfvec)
events         _sequence, _from, user, item, time, event, weight
meta           key, version, value
```
An entry counts from version `_from` to before `_until`; nothing has superseded it where that is `LATEST`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
from psycopg import sql

from itemspace.core.errors import ArtifactError, DataError
from itemspace.store.contract import EVENT_SCHEMA
from itemspace.store.entries import ITEMS, VECTORS, Entries, State
from itemspace.store.postgres_columns import Kept, from_csv, kept_columns, to_csv
from itemspace.store.postgres_connections import Connections, answering
from itemspace.store.postgres_vectors import LATEST, from_copy, keys_from_copy, to_copy
from itemspace.store.tables import LIVE, PUT, ROW, VERSION, array_of, matrix_of

MOST_NUMBERS = {"float32": 16_000, "float16": 16_000}
_HEAD = pa.schema([ROW, VERSION, LIVE, PUT])


def log_table(log: str) -> str:
    """The table of a log: its name, or a hash of it where PostgreSQL would cut the name."""
    return log if len(log) <= 60 else VECTORS + hashlib.blake2b(log.encode(), digest_size=16).hexdigest()


def rows_literal(rows: np.ndarray) -> str:
    """Whole numbers as PostgreSQL writes an array of them."""
    return "{" + ",".join(map(str, rows.tolist())) + "}"


class PostgresEntries(Entries):
    """`Entries` in one schema of a PostgreSQL database."""

    def __init__(self, connections: Connections, namespace: str, schema: pa.Schema) -> None:
        self.connections, self.namespace = connections, namespace
        self.kept = kept_columns(schema)
        self._events = kept_columns(EVENT_SCHEMA)
        self._last: State | None = None
        self._pending: State | None = None
        self._made: set[str] = set()

    # -- making and deleting ---------------------------------------------------------------------------------------------

    def create(self) -> None:
        """The schema and its tables, with the empty state, in one transaction.

        Raises:
            ArtifactError: the database has no pgvector, or does not let this user create.
        """
        with self.connections.reader() as connection, connection.transaction():
            have = connection.execute("SELECT 1 FROM pg_extension WHERE extname = 'vector'").fetchone()
            if have is None:
                _extended(connection, self.connections.what)
            connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(self.namespace)))
            connection.execute(
                sql.SQL(
                    "CREATE TABLE {} (version bigint PRIMARY KEY, written float8 NOT NULL, state jsonb NOT NULL)"
                ).format(self.table("commits"))
            )
            connection.execute(
                sql.SQL(
                    "CREATE TABLE {} (key text, version bigint, value text NOT NULL, PRIMARY KEY (key, version))"
                ).format(self.table("meta"))
            )
            self._create_log(connection, ITEMS, [("_put", "bigint NOT NULL"), *((k.column, k.sql) for k in self.kept)])
            columns = sql.SQL(", ").join(_column(k.column, k.sql) for k in self._events)
            connection.execute(
                sql.SQL("CREATE TABLE {} (_sequence bigint, _from bigint, {}, PRIMARY KEY (_sequence, _from))").format(
                    self.table("events"), columns
                )
            )
            connection.execute(sql.SQL("CREATE INDEX ON {} (_from)").format(self.table("events")))
            self._insert(connection, State())

    def _create_log(self, connection: Any, log: str, columns: list[tuple[str, str]]) -> None:
        own = sql.SQL(", ").join(_column(name, kind) for name, kind in columns)
        connection.execute(
            sql.SQL(
                "CREATE TABLE {} (_row integer, _from bigint, _until bigint NOT NULL, _live boolean NOT NULL, {}, "
                "PRIMARY KEY (_row, _from))"
            ).format(self.table(log), own)
        )
        connection.execute(sql.SQL("CREATE INDEX ON {} (_from)").format(self.table(log)))

    def table(self, log: str) -> sql.Identifier:
        """A table of this store, as statements name it."""
        return sql.Identifier(self.namespace, log_table(log))

    def drop(self) -> None:
        with self.connections.reader() as connection:
            connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(self.namespace)))

    # -- the writer's place ----------------------------------------------------------------------------------------------

    @property
    def held(self) -> bool:
        return self.connections.held

    def hold(self) -> None:
        if self.connections.hold():
            self._last = None

    def let_go(self) -> None:
        self._last = None
        self.connections.let_go()

    def close(self) -> None:
        self._last = None
        self.connections.close()

    # -- states ----------------------------------------------------------------------------------------------------------

    def latest(self) -> State:
        if self._last is not None and self.held:
            return self._last
        found = self._one(sql.SQL("SELECT state FROM {} ORDER BY version DESC LIMIT 1").format(self.table("commits")))
        if found is None:
            raise ArtifactError(f"{self.connections.what} is damaged: its database holds no commit.")
        state = State.from_json(found[0])
        if self.held:
            self._last = state
        return state

    def at(self, version: int) -> State:
        if not -(2**63) <= version < 2**63:
            version = -1
        found = self._one(sql.SQL("SELECT state FROM {} WHERE version = %s").format(self.table("commits")), (version,))
        if found is None:
            raise DataError(f"version {version} is not kept.", hint="Snapshots are kept: see snapshots().")
        return State.from_json(found[0])

    def dated(self) -> dict[int, float]:
        with self.connections.reader() as connection:
            return dict(connection.execute(sql.SQL("SELECT version, written FROM {}").format(self.table("commits"))))

    def _one(self, statement: sql.Composable, values: tuple[Any, ...] = ()) -> Any:
        with self.connections.reader() as connection:
            return connection.execute(statement, values).fetchone()

    # -- writing ---------------------------------------------------------------------------------------------------------

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self._pending = None
        try:
            with answering(self.connections.what), self.connections.writer.transaction():
                yield
        except BaseException:
            self._last = None  # should committing have failed, the database says whether it is there
            self._made.clear()
            raise
        if self._pending is not None:
            self._last = self._pending

    def add(self, log: str, entries: pa.Table) -> None:
        rows = array_of(entries, "_row")
        if not len(rows):
            return
        version = int(entries.column("_version")[0].as_py())
        connection = self.connections.writer
        if log != ITEMS:
            self._make_vectors(connection, log, entries.schema.field("vector").type)
        self._supersede(connection, log, rows, version)
        if log == ITEMS:
            head = entries.select(["_row", "_version", "_live", "_put"]).append_column(
                "_until", pa.array(np.full(len(rows), LATEST, np.int64))
            )
            own = entries.select([kept.name for kept in self.kept])
            table = pa.table([*head.columns, *own.columns], names=[f"c{i}" for i in range(5 + own.num_columns)])
            names = ["_row", "_from", "_live", "_put", "_until", *(kept.column for kept in self.kept)]
            self._copy_csv(connection, log, names, to_csv(table, self.kept))
            return
        content = to_copy(rows, array_of(entries, "_version"), array_of(entries, "_live"), matrix_of(entries))
        statement = sql.SQL("COPY {} (_row, _from, _until, _live, vector) FROM STDIN BINARY").format(self.table(log))
        with connection.cursor().copy(statement) as copy:
            copy.write(content)

    def _supersede(self, connection: Any, log: str, rows: np.ndarray, version: int) -> None:
        table = self.table(log)
        most = connection.execute(sql.SQL("SELECT max(_row) FROM {}").format(table)).fetchone()[0]
        old = rows[rows <= (-1 if most is None else most)]
        if len(old):
            connection.execute(
                sql.SQL("UPDATE {} SET _until = %s WHERE _row = ANY(%s::int4[]) AND _until = %s").format(table),
                (version, rows_literal(old), LATEST),
            )

    def _make_vectors(self, connection: Any, log: str, kind: pa.DataType) -> None:
        if log in self._made:
            return
        table = self.table(log)
        if connection.execute("SELECT to_regclass(%s)", (table.as_string(connection),)).fetchone()[0] is None:
            if kind.list_size > 16_000:
                raise DataError(f"PostgreSQL keeps vectors of up to 16,000 numbers; these have {kind.list_size:,}.")
            name = "halfvec" if pa.types.is_float16(kind.value_type) else "vector"
            self._create_log(connection, log, [("vector", f"{name}({int(kind.list_size)}) NOT NULL")])
        self._made.add(log)

    def add_events(self, events: pa.Table) -> None:
        head = events.select(["_sequence", "_version"])
        table = pa.table([*head.columns, *events.select(EVENT_SCHEMA.names).columns], names=[f"c{i}" for i in range(7)])
        names = ["_sequence", "_from", *(kept.column for kept in self._events)]
        self._copy_csv(self.connections.writer, "events", names, to_csv(table, self._events))

    def _copy_csv(self, connection: Any, log: str, names: list[str], content: bytes) -> None:
        columns = sql.SQL(", ").join(sql.Identifier(name) for name in names)
        statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv)").format(self.table(log), columns)
        with connection.cursor().copy(statement) as copy:
            copy.write(content)

    def write_meta(self, key: str, version: int, value: str) -> None:
        statement = sql.SQL("INSERT INTO {} VALUES (%s, %s, %s)").format(self.table("meta"))
        self.connections.writer.execute(statement, (key, version, value))

    def commit(self, state: State) -> None:
        self._insert(self.connections.writer, state)
        self._pending = state

    def _insert(self, connection: Any, state: State) -> None:
        connection.execute(
            sql.SQL("INSERT INTO {} VALUES (%s, %s, %s)").format(self.table("commits")),
            (state.version, state.written, json.dumps(state.to_json())),
        )

    # -- reading ---------------------------------------------------------------------------------------------------------

    def read(
        self,
        log: str,
        at: State,
        columns: list[str] | None = None,
        *,
        rows: np.ndarray | None = None,
        since: int | None = None,
    ) -> pa.Table:
        shown = self._shown(at, rows, since)
        if log != ITEMS:
            dtype, d = at.vectors[log.removeprefix(VECTORS)]
            statement = sql.SQL("COPY (SELECT _row, _from, _live, vector FROM {} {}) TO STDOUT BINARY")
            return from_copy(self._copied(statement.format(self.table(log), shown)), d, dtype)
        kept = self.kept if columns is None else [k for name in columns for k in self.kept if k.name == name]
        statement = sql.SQL("COPY (SELECT _row, _from, _live, _put{} FROM {} {}) TO STDOUT (FORMAT csv)")
        own = sql.SQL("").join(sql.SQL(", {}").format(_sent(k)) for k in kept)
        return from_csv(self._copied(statement.format(own, self.table(log), shown)), _HEAD, kept)

    def _shown(self, at: State, rows: np.ndarray | None, since: int | None) -> sql.Composable:
        """Which entries count at a state, in row order."""
        version = sql.Literal(at.version)
        told = sql.SQL("WHERE _from <= {} AND _until > {}").format(version, version)
        if since is not None:
            told += sql.SQL(" AND _from > {}").format(sql.Literal(max(int(since), -1)))
        if rows is not None:
            first, last = (int(rows[0]), int(rows[-1])) if len(rows) else (0, -1)
            if last - first + 1 == len(rows):
                told += sql.SQL(" AND _row BETWEEN {} AND {}").format(sql.Literal(first), sql.Literal(last))
            else:
                told += sql.SQL(" AND _row = ANY({}::int4[])").format(sql.Literal(rows_literal(rows)))
        return told + sql.SQL(" ORDER BY _row")

    def _copied(self, statement: sql.Composable) -> bytes:
        # In a write, the writer's own connection: what it has superseded so far still shows at the state it builds on.
        with self.connections.reader() as connection, connection.cursor().copy(statement) as copy:
            return b"".join(copy)

    def keys(self, log: str, at: State) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        statement = sql.SQL("COPY (SELECT _row, _from, _live FROM {} {}) TO STDOUT BINARY")
        return keys_from_copy(self._copied(statement.format(self.table(log), self._shown(at, None, None))))

    def events(self, at: State, start: int, stop: int, since: int = 0) -> pa.Table:
        told = sql.SQL("WHERE _sequence >= {} AND _sequence < {} AND _from > {} AND _from <= {}").format(
            sql.Literal(start), sql.Literal(stop), sql.Literal(since if since > 0 else -1), sql.Literal(at.version)
        )
        for version, count in at.cuts:
            told += sql.SQL(" AND (_sequence < {} OR _from >= {})").format(sql.Literal(count), sql.Literal(version))
        own = sql.SQL(", ").join(_sent(k) for k in self._events)
        statement = sql.SQL("COPY (SELECT _from, {} FROM {} {} ORDER BY _sequence) TO STDOUT (FORMAT csv)")
        content = self._copied(statement.format(own, self.table("events"), told))
        return from_csv(content, pa.schema([VERSION]), self._events).select([*EVENT_SCHEMA.names, "_version"])

    def read_meta(self, key: str, version: int) -> str:
        statement = sql.SQL("SELECT value FROM {} WHERE key = %s AND version = %s").format(self.table("meta"))
        found = self._one(statement, (key, version))
        if found is None:
            raise ArtifactError(f"{self.connections.what} is damaged: it has lost the meta value `{key}`.")
        return str(found[0])

    # -- upkeep ----------------------------------------------------------------------------------------------------------

    def prune(self, state: State, kept: list[int]) -> State:
        connection, versions = self.connections.writer, rows_literal(np.array(kept))
        for log in (ITEMS, *(VECTORS + name for name in state.vectors)):
            connection.execute(
                sql.SQL(
                    "DELETE FROM {} WHERE _until <= %s AND (_until <= %s OR NOT EXISTS (SELECT 1 FROM "
                    "unnest(%s::bigint[]) AS k WHERE _from <= k AND k < _until))"
                ).format(self.table(log)),
                (state.version, kept[0], versions),
            )
        gone = [cut for cut in state.cuts if cut[0] <= kept[0]]
        for version, count in gone:
            connection.execute(
                sql.SQL("DELETE FROM {} WHERE _sequence >= %s AND _from < %s").format(self.table("events")),
                (count, version),
            )
        commits, meta = self.table("commits"), self.table("meta")
        connection.execute(sql.SQL("DELETE FROM {} WHERE version <> ALL(%s::bigint[])").format(commits), (versions,))
        connection.execute(
            sql.SQL(
                "DELETE FROM {} m WHERE NOT EXISTS (SELECT 1 FROM {} c WHERE c.state -> 'meta' ->> m.key = m.version::text)"
            ).format(meta, commits)
        )
        return State(**{**state.__dict__, "cuts": tuple(cut for cut in state.cuts if cut not in gone)})

    def settle(self) -> None:
        with self.connections.reader() as connection:
            for log in (ITEMS, "events", "meta", "commits", *(VECTORS + name for name in self.latest().vectors)):
                connection.execute(sql.SQL("VACUUM (ANALYZE) {}").format(self.table(log)))

    def bytes(self) -> int:
        found = self._one(
            sql.SQL(
                "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_class c JOIN pg_namespace n "
                "ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relkind = 'r'"
            ),
            (self.namespace,),
        )
        return int(found[0])


def _column(name: str, kind: str) -> sql.Composable:
    """A column's definition; `kind` is one of ours."""
    return sql.SQL("{} " + kind).format(sql.Identifier(name))


def _sent(kept: Kept) -> sql.Composable:
    """A column as it is read: an array as the JSON of its elements' texts."""
    name = sql.Identifier(kept.column)
    return name if kept.inner is None else sql.SQL("to_json({}::text[])::text").format(name)


def _extended(connection: Any, what: str) -> None:
    import psycopg

    try:
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
    except psycopg.Error as error:
        raise ArtifactError(
            f"{what}: the database has no pgvector, and it cannot be added here ({str(error).splitlines()[0]}).\n"
            "  Ask its administrator for: CREATE EXTENSION vector"
        ) from error
