"""MetaTool: requests to a language model and the tool each needs, with one-sentence descriptions of the tools.

`data/all_clean_data.csv` (Query, Tool), `big_tool_des.json` and `plugin_des.json` (tool -> description; the first wins),
`data/multi_tool_query_golden.json` (a list of {query, tool: [two tools]}). `requests` picks one need or several. Requests
that read the same are one query, for which every tool named is relevant.

Source: HowieHwong/MetaTool; Huang et al. 2024.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal, TypeVar

import pyarrow as pa

from itemspace.core.config import Config
from itemspace.core.dataset import Dataset
from itemspace.core.errors import DataError
from itemspace.data.files import load_csv, read_bytes
from itemspace.data.frame import Frame
from itemspace.data.reader import Reader, Reading, queries_of

T = TypeVar("T")
_ONE, _SEVERAL = "all_clean_data.csv", "multi_tool_query_golden.json"
_DESCRIBED = ("big_tool_des.json", "plugin_des.json")


class MetaToolConfig(Config):
    """requests: those that need one tool, or those that need two."""

    requests: Literal["one", "several"] = "one"


class MetaToolReader(Reader):
    """The folder of the MetaTool dataset."""

    config: MetaToolConfig
    name = "metatool"
    looks_for = f"data/{_ONE} with {_DESCRIBED[0]} (MetaTool)"

    @classmethod
    def matches(cls, path: Path) -> bool:
        return path.is_dir() and (path / _DESCRIBED[0]).exists() and (path / "data" / _ONE).exists()

    def read(self, path: Path, reading: Reading) -> Dataset:
        described: dict[str, str] = {}
        for name in _DESCRIBED:
            if (path / name).exists():
                reading.files.append(name)
                described = {**_json(path / name, dict), **described}
        names = list(described)
        tools = pa.table({"tool": names, "title": names, "description": list(described.values())})
        kinds = {"tool": "id", "title": "text", "description": "text"}
        catalog = reading.catalog(Frame.of(tools, _DESCRIBED[0]), kinds=kinds)
        pairs, texts = self._asked(path / "data", reading)
        queries = queries_of([f"q{n}" for n in range(1, len(texts) + 1)], texts)
        catalog, judgments = reading.judgments(pairs, catalog, queries, query="number", item="Tool", grade=None)
        source = {"requests": self.config.requests}
        return reading.dataset(path, self.name, catalog, queries=queries, judgments=judgments, source=source)

    def _asked(self, folder: Path, reading: Reading) -> tuple[Frame, list[str]]:
        """The pairs (number of the request, Tool) and the requests' texts."""
        if self.config.requests == "one":
            reading.files.append(_ONE)
            frame = load_csv(folder / _ONE, reading.rejects)
            asked = frame.column("Query").fill_null("").dictionary_encode()
            texts = asked.dictionary.to_pylist()
            names = pa.array([f"q{number}" for number in range(1, len(texts) + 1)], pa.large_string())
            return frame.with_column("number", names.take(asked.indices)), texts
        reading.files.append(_SEVERAL)
        records = _json(folder / _SEVERAL, list)
        pairs = [(f"q{n}", tool) for n, record in enumerate(records, 1) for tool in record["tool"]]
        table = pa.table({"number": [n for n, _ in pairs], "Tool": [tool for _, tool in pairs]})
        return Frame.of(table, _SEVERAL), [record["query"] for record in records]


def _json(path: Path, kind: type[T]) -> T:
    try:
        found = json.loads(read_bytes(path))
    except ValueError as error:
        raise DataError(f"not valid JSON ({error}).", file=path.name) from None
    if not isinstance(found, kind):
        raise DataError(f"a JSON {'object' if kind is dict else 'list'} was expected.", file=path.name)
    return found
