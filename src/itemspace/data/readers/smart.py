"""The SMART collections' tagged text: Cranfield (1,400 documents, 225 queries) and CISI (1,460 and 112).

```text
.I 1
.T
experimental investigation ...
.A
brenckman,m.
.W
experimental investigation of the aerodynamics of a ...
```

`.I` number, `.T` title, `.A` author (repeated), `.B` source, `.W` text, `.X` cross references, `.K` keywords, `.C`.

Queries are numbered by their order in the file, which is what Cranfield's `cranqrel` means (its `.I` numbers skip);
CISI's numbers are the order already. Cleverdon's relevance codes in `cranqrel` run downward: 1 complete answer, 2 high
degree, 3 useful, 4 minimum interest (`cranqrel.readme`). Grades here run upward: code 1 becomes 4, 2 becomes 3, 3
becomes 2, 4 becomes 1; and -1, which the readme does not mention and the binary file has as 0, becomes 0 (judged, not
relevant). `grades="binary"` makes every grade above 0 a 1; `grades="codes"` keeps the codes. CISI's pairs are all
relevant, grade 1.

Source: the Glasgow IR test collections (ftp of the SMART project, Cornell).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from itemspace.core.config import Config
from itemspace.core.dataset import Dataset
from itemspace.core.errors import DataError
from itemspace.data.files import load_lines, read_bytes
from itemspace.data.frame import Frame
from itemspace.data.jsons import from_records
from itemspace.data.reader import Reader, Reading, head, queries_of
from itemspace.data.rejects import Rejects

FIELDS = {"T": "title", "A": "author", "B": "source", "W": "text", "K": "keywords", "C": "categories"}
_TAG = re.compile(r"^\.([A-Z])[ \t]*(.*)$")


class SmartConfig(Config):
    """grades: what becomes of Cranfield's relevance codes (see the module)."""

    grades: Literal["graded", "binary", "codes"] = "graded"


class SmartReader(Reader):
    """Tagged documents and queries with their relevance file."""

    config: SmartConfig
    name = "smart"
    looks_for = "cran.all.1400 with cran.qry and cranqrel, or NAME.ALL with NAME.QRY and NAME.REL (SMART)"

    @classmethod
    def matches(cls, path: Path) -> bool:
        return path.is_dir() and any(re.match(rb"\.I +\d", head(p, 16)) for p in _documents(path))

    def read(self, path: Path, reading: Reading) -> Dataset:
        documents = next(iter(_documents(path)), None)
        if documents is None:
            raise DataError("no .ALL or .all.* file of documents is in this folder.", file=str(path))
        stem = documents.name.split(".")[0]
        queries = _beside(path, f"{stem}.qry", f"{stem}.QRY")
        relevance = _beside(path, f"{stem}qrel", f"{stem}.REL", f"{stem}.rel")
        reading.files += [documents.name, queries.name, relevance.name]
        catalog = reading.catalog(
            tagged(documents, reading.rejects),
            kinds={"id": "id", "title": "text", "text": "text", "author": "list", "source": "text", "cites": "list"},
        )
        asked = tagged(queries, reading.rejects)
        texts = [
            " ".join(p for p in (a, b) if p) for a, b in zip(_texts(asked, "title"), _texts(asked, "text"), strict=True)
        ]
        numbers = [str(n) for n in range(1, len(asked) + 1)]
        made = queries_of(numbers, texts, {"number": np.array(asked.column("id").to_pylist())})
        pairs, cranfield = self._pairs(relevance, reading)
        catalog, judgments = reading.judgments(pairs, catalog, made, query="query", item="item", grade="grade")
        source = {"grades": self.config.grades if cranfield else "binary"}
        return reading.dataset(path, self.name, catalog, queries=made, judgments=judgments, source=source)

    def _pairs(self, file: Path, reading: Reading) -> tuple[Frame, bool]:
        cranfield = len(head(file, 200).split(b"\n")[0].split()) == 3
        names = ["query", "item", "code"]
        frame = load_lines(file, reading.rejects, separator=None, names=names if cranfield else names[:2])
        if not cranfield:
            return frame.with_column("grade", pa.array(np.ones(len(frame)))), False
        frame = reading.numbers(frame, "code")
        codes = np.asarray(frame.column("code"))
        grades = np.where(codes < 0, 0, 5 - codes)
        if self.config.grades == "binary":
            grades = (grades > 0).astype(float)
        elif self.config.grades == "codes":
            grades = codes
        return frame.with_column("grade", pa.array(grades)), True


def _documents(path: Path) -> list[Path]:
    return sorted([*path.glob("*.ALL"), *path.glob("*.all"), *path.glob("*.all.*")])


def _beside(folder: Path, *names: str) -> Path:
    for name in names:
        if (folder / name).exists():
            return folder / name
    raise DataError(f"{' or '.join(names)} is missing from this folder.", file=str(folder))


def _texts(frame: Frame, name: str) -> list[str]:
    return [t or "" for t in frame.column(name).to_pylist()] if name in frame else [""] * len(frame)


def tagged(file: Path, rejects: Rejects) -> Frame:
    """The records of a tagged file; lines of a field are joined by spaces. `author` is a list.

    An `.X` line is "document, kind of link, this document"; `cites` lists the distinct documents."""
    text = read_bytes(file).decode("utf-8", "replace")
    if "\ufffd" in text:
        text = read_bytes(file).decode("latin-1")
    records: list[dict[str, Any]] = []
    lists: dict[str, list[str]] = {}
    field = ""
    for number, line in enumerate(text.splitlines(), 1):
        tag = _TAG.match(line)
        if tag and tag[1] == "I":
            if not tag[2].strip():
                raise DataError("a record without a number.", file=file.name, row=number, column=".I")
            lists = {"I": [tag[2].strip()]}
            records.append(lists)
        elif tag and not tag[2].strip() and (tag[1] in FIELDS or tag[1] in "X"):
            field = tag[1]
            lists.setdefault(field, []).append("")
        elif not records or not field:
            raise DataError(f'"{line[:40]}" stands before any .I line.', file=file.name, row=number)
        elif line.strip():
            lists[field][-1] = f"{lists[field][-1]} {line.strip()}".strip()
    return from_records([_record(r) for r in records], file.name, rejects)


def _record(found: dict[str, list[str]]) -> dict[str, Any]:
    out: dict[str, Any] = {"id": str(int(found["I"][0])) if found["I"][0].isdigit() else found["I"][0]}
    for tag, name in FIELDS.items():
        if tag in found:
            values = [v for v in found[tag] if v]
            out[name] = values if tag == "A" else " ".join(values)
    if "X" in found:
        numbers = " ".join(found["X"]).split()[::3]
        out["cites"] = list(dict.fromkeys(n for n in numbers if n != out["id"]))
    return out
