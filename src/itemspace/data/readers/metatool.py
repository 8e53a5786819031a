"""MetaTool: requests and the tool each needs. `plugin_des.json` {tool: description}, `data/all_clean_data.csv` Query, Tool.

Tools are the items. Requests that read the same are one query, for which every tool named is relevant.

Source: Huang et al. 2024 (HowieHwong/MetaTool).
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa

from itemspace.core.config import Config
from itemspace.core.dataset import Dataset
from itemspace.core.errors import DataError
from itemspace.data.files import load_csv, read_bytes
from itemspace.data.frame import Frame
from itemspace.data.reader import Reader, Reading, queries_of

TOOLS, ASKED = "plugin_des.json", "data/all_clean_data.csv"


class MetaToolReader(Reader):
    """Descriptions of tools, and requests."""

    config: Config
    name = "metatool"
    looks_for = f"{TOOLS} with {ASKED} (MetaTool)"

    @classmethod
    def matches(cls, path: Path) -> bool:
        return path.is_dir() and (path / TOOLS).exists() and (path / ASKED).exists()

    def read(self, path: Path, reading: Reading) -> Dataset:
        reading.files += [TOOLS, ASKED]
        try:
            told = json.loads(read_bytes(path / TOOLS))
        except ValueError as error:
            raise DataError(f"this is no JSON ({error}).", file=TOOLS) from None
        if not isinstance(told, dict) or not all(isinstance(value, str) for value in told.values()):
            raise DataError("this is no object of tools and their descriptions.", file=TOOLS)
        tools = pa.table({"tool": list(told), "description": list(told.values())})
        catalog = reading.catalog(Frame.of(tools, TOOLS), kinds={"tool": "id", "description": "text"})
        frame = load_csv(path / ASKED, reading.rejects)
        for column in ("Query", "Tool"):
            if column not in frame:
                raise DataError(f"no column `{column}`; columns: {', '.join(frame.names)}.", file=frame.file)
        codes = frame.column("Query").dictionary_encode()
        texts = codes.dictionary.to_pylist()
        width = len(str(len(texts)))
        names = np.array([f"r{number:0{width}d}" for number in range(1, len(texts) + 1)], object)
        frame = frame.with_column("query", pa.array(names[np.asarray(codes.indices)].tolist(), pa.large_string()))
        queries = queries_of(names.tolist(), texts)
        catalog, judgments = reading.judgments(frame, catalog, queries, query="query", item="Tool", grade=None)
        return reading.dataset(path, self.name, catalog, queries=queries, judgments=judgments)
