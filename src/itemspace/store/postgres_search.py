"""PostgreSQL as the search engine: pgvector's HNSW with filters as SQL, and its full text.

One statement answers a batch: every query is a row, joined with its own nearest (LATERAL). The index is walked on until
k items that match were found (pgvector's iterative scan); where it ends too soon, as for vectors of zeros, which it does
not hold, the batch is answered by an exhaustive scan.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from typing import Any

import numpy as np
import pyarrow as pa
from psycopg import sql

from itemspace.core.contracts import Encoder
from itemspace.core.errors import ArtifactError, RequestError
from itemspace.core.requests import Requests
from itemspace.core.selection import Selection
from itemspace.store.entries import ITEMS, VECTORS
from itemspace.store.postgres_columns import escaped_text
from itemspace.store.postgres_entries import PostgresEntries, rows_literal
from itemspace.store.postgres_vectors import LATEST
from itemspace.store.postgres_where import Conditions
from itemspace.store.searching import DatabaseSearch, Pushed, VectorSearch

_DISTANCE = {"ip": sql.SQL("<#>"), "cosine": sql.SQL("<=>"), "l2": sql.SQL("<->")}
_MOST_INDEXED = {"vector": 2000, "halfvec": 4000}
_ALIVE = sql.SQL("{0}._until = {1} AND {0}._live")


class _Statement:
    """Conditions on items, with their parameters, for both kinds of search."""

    def __init__(self, entries: PostgresEntries, pushed: Pushed | None, within: Selection | None) -> None:
        self.parameters: list[Any] = []
        latest = sql.Literal(LATEST)
        parts: list[sql.Composable] = [_ALIVE.format(sql.Identifier("i"), latest)]
        if pushed is not None:
            conditions = Conditions(pushed.checked, {kept.name: kept for kept in entries.kept}, "i")
            parts.append(conditions.write(pushed.expression))
            self.parameters += conditions.parameters
        if within is not None and within.rows is not None:
            parts.append(sql.SQL("i._row = ANY(%s::int4[])"))
            self.parameters.append(rows_literal(within.rows))
        include, exclude = (None, None) if within is None else (within.include, within.exclude)
        for pairs, word in ((include, ""), (exclude, "NOT ")):
            if pairs is not None:
                told = "EXISTS (SELECT 1 FROM unnest(%s::int4[], %s::int4[]) AS x(n, r) WHERE x.n = q.n - 1 AND x.r = i._row)"
                parts.append(sql.SQL(word + told))
                self.parameters += [rows_literal(pairs.groups), rows_literal(pairs.values)]
        self.where = sql.SQL(" AND ").join(parts)


class PostgresVectors(VectorSearch):
    """Vectors of the store, searched by the database. `prepare` makes its index, once."""

    def __init__(self, entries: PostgresEntries, encoder: Encoder, name: str) -> None:
        super().__init__(encoder, name)
        self.entries = entries

    def prepare(self) -> bool:
        """Make the database's index of these vectors, where there is none; whether there is one now.

        Without one, answers are exhaustive: exact, and slower. Vectors of more than 2,000 numbers (4,000 of half
        precision) have none, and a user who may not create one has none either.
        """
        dtype, d = self.entries.latest().vectors[self.name]
        kind = "halfvec" if dtype == "float16" else "vector"
        if d > _MOST_INDEXED[kind]:
            return False
        told = hashlib.blake2b(f"{self.name} {self.operator}".encode(), digest_size=8).hexdigest()
        table, name = self.entries.table(VECTORS + self.name), sql.Identifier(self.entries.namespace, f"near_{told}")
        statement = sql.SQL("CREATE INDEX IF NOT EXISTS {} ON {} USING hnsw (vector {}) WHERE _until = {}").format(
            sql.Identifier(f"near_{told}"),
            table,
            sql.SQL(f"{kind}_{self.operator}_ops"),
            sql.Literal(LATEST),
        )
        with suppress(ArtifactError), self.entries.connections.reader() as connection:
            there = connection.execute("SELECT to_regclass(%s)", (name.as_string(connection),)).fetchone()
            if there == (None,):
                connection.execute(statement)
                connection.execute(sql.SQL("ANALYZE {}").format(table))
                connection.execute(sql.SQL("ANALYZE {}").format(self.entries.table(ITEMS)))
            return True
        return False

    def _best(
        self, requests: Requests, k: int, pushed: Pushed | None, within: Selection | None
    ) -> tuple[np.ndarray, np.ndarray]:
        queries = self.queries(requests)
        limits = _Statement(self.entries, pushed, within)
        rows, scores = self._asked(queries, k, limits, exact=False)
        short = (rows >= 0).sum(1) < k
        if short.any() and self._more(queries, k, limits, (rows >= 0).sum(1)):
            rows, scores = self._asked(queries, k, limits, exact=True)
        return rows, scores

    def _from(self) -> sql.Composable:
        """Vectors joined with their items, both as they are now."""
        alive = _ALIVE.format(sql.Identifier("v"), sql.Literal(LATEST))
        return sql.SQL("{} v JOIN {} i ON i._row = v._row WHERE {}").format(
            self.entries.table(VECTORS + self.name), self.entries.table(ITEMS), alive
        )

    def _more(self, queries: np.ndarray, k: int, limits: _Statement, found: np.ndarray) -> bool:
        """Whether some query has more matches than were found for it."""
        statement = sql.SQL(
            "SELECT q.n, h.c FROM generate_series(1, %s) AS q(n), LATERAL "
            "(SELECT count(*) AS c FROM (SELECT 1 FROM {} AND {} LIMIT %s) AS matching) AS h"
        ).format(self._from(), limits.where)
        with self.entries.connections.reader() as connection:
            counts = connection.execute(statement, [len(queries), *limits.parameters, k]).fetchall()
        return any(count > found[n - 1] for n, count in counts)

    def _asked(self, queries: np.ndarray, k: int, limits: _Statement, *, exact: bool) -> tuple[np.ndarray, np.ndarray]:
        dtype, d = self.entries.latest().vectors[self.name]
        kind = sql.SQL(f"{'halfvec' if dtype == 'float16' else 'vector'}({int(d)})")
        far = sql.SQL("v.vector {} q.v::{}").format(_DISTANCE[self.operator], kind)
        # A vector of zeros has no direction: its cosine is 0.
        order = sql.SQL("coalesce(nullif({}, 'NaN'), 1)").format(far) if exact else far
        statement = sql.SQL(
            "SELECT q.n, h._row, h.far FROM unnest(%s::text[]) WITH ORDINALITY AS q(v, n) CROSS JOIN LATERAL "
            "(SELECT v._row, {} AS far FROM {} AND {} ORDER BY {} LIMIT %s) AS h"
        ).format(order, self._from(), limits.where, order)
        with self.entries.connections.reader() as connection, connection.transaction():
            connection.execute(
                "SELECT set_config('hnsw.iterative_scan', 'strict_order', true), "
                "set_config('hnsw.max_scan_tuples', '2147483647', true), set_config('hnsw.ef_search', %s, true)",
                (str(int(np.clip(2 * k, 40, 1000))),),
            )
            found = connection.execute(statement, [vector_texts(queries), *limits.parameters, k]).fetchall()
        return placed(found, len(queries), k, self._score)

    def _score(self, far: np.ndarray) -> np.ndarray:
        far = np.where(np.isnan(far), 1.0, far)
        return 1.0 - far if self.operator == "cosine" else -far


class PostgresText(DatabaseSearch):
    """Words of chosen columns, searched by the database's full text: any of the words, ranked by `ts_rank`.

    language: one of the database's text search configurations; "simple" takes words as they are.
    """

    exact = True

    def __init__(self, entries: PostgresEntries, columns: list[str], language: str = "simple") -> None:
        self.entries, self.columns, self.language = entries, columns, language
        known = {kept.name: kept for kept in entries.kept}
        unfit = [name for name in columns if name not in known or not pa.types.is_large_string(known[name].plain)]
        if unfit or not columns:
            raise RequestError(f"full text reads columns of text; `{unfit[0] if unfit else ''}` is none.")
        self._kept = [known[name] for name in columns]

    def prepare(self) -> None:
        """Make the database's index of these words, where there is none."""
        told = hashlib.blake2b(repr((self.columns, self.language)).encode(), digest_size=8).hexdigest()
        statement = sql.SQL("CREATE INDEX IF NOT EXISTS {} ON {} USING gin ({}) WHERE _until = {}").format(
            sql.Identifier(f"words_{told}"), self.entries.table(ITEMS), self._words(None), sql.Literal(LATEST)
        )
        with self.entries.connections.reader() as connection:
            connection.execute(statement)

    def _words(self, table: str | None) -> sql.Composable:
        names = [sql.Identifier(*([table] if table else []), kept.column) for kept in self._kept]
        joined = sql.SQL(" || ' ' || ").join(sql.SQL("coalesce({}, '')").format(name) for name in names)
        return sql.SQL("to_tsvector({}::regconfig, {})").format(sql.Literal(self.language), joined)

    def _best(
        self, requests: Requests, k: int, pushed: Pushed | None, within: Selection | None
    ) -> tuple[np.ndarray, np.ndarray]:
        limits = _Statement(self.entries, pushed, within)
        words = self._words("i")
        # The database reads the words (as a parameter) and joins them by "and"; any of them will do.
        statement = sql.SQL(
            "SELECT q.n, h._row, h.score FROM (SELECT n, replace(plainto_tsquery({}::regconfig, v)::text, '&', '|')::tsquery "
            "AS w FROM unnest(%s::text[]) WITH ORDINALITY AS given(v, n)) AS q CROSS JOIN LATERAL "
            "(SELECT i._row, ts_rank({}, q.w, 1) AS score FROM {} i WHERE {} @@ q.w AND {} "
            "ORDER BY score DESC LIMIT %s) AS h"
        ).format(sql.Literal(self.language), words, self.entries.table(ITEMS), words, limits.where)
        asked = [escaped_text(text or "") for text in requests.text or ()]
        with self.entries.connections.reader() as connection:
            found = connection.execute(statement, [asked, *limits.parameters, k]).fetchall()
        return placed(found, len(asked), k, lambda score: score)

    def __repr__(self) -> str:
        return f"PostgresText({', '.join(self.columns)})"


def vector_texts(queries: np.ndarray) -> list[str]:
    """Vectors as pgvector reads them."""
    return ["[" + ",".join(map(repr, line)) + "]" for line in queries.astype(np.float64).tolist()]


def placed(found: list[Any], queries: int, k: int, score: Any) -> tuple[np.ndarray, np.ndarray]:
    """Rows of (query from 1, item, distance) as rows and scores [queries, k]."""
    rows, scores = np.full((queries, k), -1, np.int32), np.full((queries, k), -np.inf, np.float32)
    if found:
        query, item, value = (np.array(column) for column in zip(*found, strict=True))
        query = query.astype(np.int64) - 1
        order = np.argsort(query, kind="stable")
        counts = np.bincount(query, minlength=queries)
        place = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
        rows[query[order], place] = item[order]
        scores[query[order], place] = score(value[order].astype(np.float64))
    return rows, scores
