"""Answers for everyone: recommendations for all users, hits for all queries, likes of all items, as a Parquet table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from itemspace.core.errors import ArtifactError, RequestError
from itemspace.core.files import as_path
from itemspace.core.hashing import fingerprint
from itemspace.core.hits import Hits
from itemspace.core.ids import string_ids
from itemspace.jobs.chunks import Chunk, Phase
from itemspace.jobs.folder import Job, job_folder
from itemspace.jobs.results import place_table
from itemspace.jobs.work import Work
from itemspace.space import Space

Verb = Literal["recommend", "search", "similar"]
CHUNK_ROWS = 1_024
"""Requests of a chunk."""
_ASKED = {"recommend": "user", "search": "query", "similar": "item"}
_REQUESTS = "requests.parquet"


def plan_answers(
    verb: Verb,
    space: str | Path | Space,
    out: str | Path,
    *,
    of: Sequence[str] | str | Path | None = None,
    k: int = 10,
    where: str | None = None,
    by: str | None = None,
    exclude_seen: bool = True,
    drifting: bool = False,
    chunk_rows: int = CHUNK_ROWS,
    job: str | Path | None = None,
) -> Job:
    """A job that asks a Space for many: `verb` "recommend" (of users), "search" (of queries) or "similar" (of items).

    of: external IDs or query texts, or a file of them: Parquet with a column of that name (queries: `text`, and `query`
    for their IDs), or text with one a line; by default all users that are known, or all items. out: a `.parquet` file, or a
    folder with one for each chunk; columns `user` (or `query`, or `item`), `rank` from 1, `hit`, `score`. drifting: go on when the Space changes meanwhile; otherwise the
    job stops, because half of the answers would be of another catalogue.

    Raises:
        RequestError: nothing is asked, or something is unknown. ArtifactError: `out` or `job` is taken.
    """
    home = job_folder(out, job)
    opened = space if isinstance(space, Space) else Space.open(space)
    try:
        asked = requests_of(verb, opened, of)
        if asked.num_rows == 0:
            raise RequestError(f"{verb} for whom? There is nothing to ask.")
        options = {
            "verb": verb, "space": str(opened.path.absolute()), "k": k, "where": where, "by": by,
            "exclude_seen": exclude_seen, "drifting": drifting, "generation": opened.generation, "version": opened.version,
        }  # fmt: skip
        _tried(opened, options, asked)
    finally:
        if opened is not space:
            opened.close()

    def prepare(folder: Path) -> Sequence[Phase]:
        pq.write_table(asked, folder / _REQUESTS)
        return [Phase("answer", asked.num_rows, chunk_rows, form="parquet")]

    return Job.plan(home, Answer.PATH, [fingerprint(asked), chunk_rows], options, as_path(out), prepare)


def requests_of(verb: Verb, space: Space, of: Sequence[str] | str | Path | None) -> pa.Table:
    """What is asked as a table: a column named by the verb (`user`, `query`, `item`), and for queries their `text`.

    Raises:
        RequestError: `of` cannot be read, or is left out where everything is not an answer.
    """
    column = _ASKED[verb]
    if of is None:
        if verb == "search":
            raise RequestError("search for what? Give queries, or a file of them (--queries).")
        if verb == "recommend":
            names = space.users.values
        else:
            catalog = space.catalog
            names = catalog.ids.values if catalog.live is None else catalog.ids.values.filter(pa.array(catalog.live))
        return pa.table({column: names})
    if not isinstance(of, (str, Path)):
        given = string_ids(list(of), column=column)
        return pa.table({column: given} | ({"text": given} if verb == "search" else {}))
    return _from_file(Path(of), column)


def _from_file(path: Path, column: str) -> pa.Table:
    if path.suffix not in (".parquet", ".pq"):
        lines = _lines(path)
        return pa.table({column: lines} | ({"text": lines} if column == "query" else {}))
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise RequestError(f"{path} cannot be read as Parquet: {error}.") from None
    wanted = ["text"] if column == "query" and "text" in table.column_names else [column]
    if wanted[0] not in table.column_names:
        raise RequestError(f"{path} has no column `{column}`; it has: {', '.join(table.column_names)}.")
    texts = string_ids(table.column(wanted[0]), column=wanted[0])
    if column != "query":
        return pa.table({column: texts})
    names = table.column("query") if "query" in table.column_names else texts
    return pa.table({"query": string_ids(names, column="query"), "text": texts})


def _lines(path: Path) -> pa.Array:
    """The lines of a text file that are not blank.

    Raises:
        RequestError: it cannot be read as text.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"{path} cannot be read as a text file: {error}. Give one ID or query a line.") from None
    return pa.array([line.strip() for line in lines if line.strip()], pa.large_string())


def _tried(space: Space, options: dict[str, Any], asked: pa.Table) -> None:
    """Ask for the first, so that an impossible k or filter is refused at once and not by every worker."""
    _ask(space, options, asked.slice(0, 1))


def _ask(space: Space, options: dict[str, Any], asked: pa.Table) -> Hits:
    verb, k, where = options["verb"], options["k"], options["where"]
    names = asked.column(asked.num_columns - 1).to_pylist()
    if verb == "recommend":
        return space.recommend(user=names, k=k, where=where, exclude_seen=options["exclude_seen"])
    if verb == "search":
        return space.search(names, k=k, where=where, by=options["by"])
    return space.similar(names, k=k, where=where, by=options["by"] or "text")


class Answer(Work):
    """Requests to hits, through the same calls that a shop makes one by one."""

    PATH = "itemspace.jobs.answering:Answer"

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self._asked = pq.read_table(job.inputs / _REQUESTS, memory_map=True)
        self._space: Space | None = None

    @property
    def space(self) -> Space:
        """The Space as it was when the job was planned.

        Raises:
            ArtifactError: it has changed since.
        """
        if self._space is None:
            self._space = pinned(self.job.options)
        return self._space

    def make(self, chunk: Chunk) -> pa.Table:
        asked = self._asked.slice(chunk.start, len(chunk))
        return table_of(_ask(self.space, self.job.options, asked), asked.column(0), asked.column_names[0])

    def names(self, chunk: Chunk) -> list[str]:
        return [str(one) for one in self._asked.column(0).slice(chunk.start, len(chunk)).to_pylist()]

    def close(self) -> None:
        if self._space is not None:
            self._space.close()

    def finish(self) -> dict[str, Any]:
        return place_table(self.job, self.job.outputs("answer")) | {"requests": self._asked.num_rows}


def table_of(hits: Hits, asked: pa.ChunkedArray, column: str) -> pa.Table:
    """Hits as rows: who asked, rank from 1, the external ID of the hit, its score. A request without hits has none."""
    if hits.ids is None:
        raise ArtifactError("these hits carry rows only.")
    present = hits.rows >= 0
    request, place = np.nonzero(present)
    return pa.table(
        {
            column: asked.combine_chunks().take(pa.array(request)),
            "rank": pa.array((np.cumsum(present, axis=1)[request, place]).astype(np.int32)),
            "hit": hits.ids.values.take(pa.array(hits.rows[present].astype(np.int64))),
            "score": pa.array(hits.scores[present].astype(np.float32)),
        }
    )


def pinned(options: dict[str, Any]) -> Space:
    """The Space as it was when the job was planned.

    Raises:
        ArtifactError: it has changed since, and the job does not allow that.
    """
    opened = Space.open(options["space"])
    now = {"generation": opened.generation, "version": opened.version}
    if options["drifting"] or all(options[name] == now[name] for name in now):
        return opened
    opened.close()
    raise ArtifactError(
        f"{opened.path} has changed since the job was planned (version {now['version']}, then {options['version']}). Plan it "
        "again over a copy that nobody writes to, or allow answers of several versions (drifting=True, --drifting)."
    )
