"""Work that takes long, cut into chunks that any number of processes or machines share; the same result as in one process.

```python
from itemspace import jobs

job = jobs.encode("items.parquet", "vectors", recipe="shop.toml", workers=4)
ids, vectors = jobs.read_vectors("vectors")
jobs.recommend("shop.space", "recommended.parquet", k=20, ray="10.0.0.1:6379", workers=64)
```

Every call plans a job (a folder beside its result) or takes up the one that is there, so that calling again after a kill
goes on where it stopped. What is done is known from files: see `Job`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from itemspace.jobs.calls import (
        Driving,
        build,
        encode,
        evaluate,
        recommend,
        resume,
        search,
        similar,
        tokenize,
        train,
    )
    from itemspace.jobs.chunks import Chunk, Phase
    from itemspace.jobs.folder import Job
    from itemspace.jobs.results import read_codes, read_vectors
    from itemspace.jobs.running import JobError, Retries, run
    from itemspace.jobs.standing import Progress, Status, status
    from itemspace.jobs.work import Work

_PUBLIC = {
    "Chunk": "itemspace.jobs.chunks",
    "Driving": "itemspace.jobs.calls",
    "Job": "itemspace.jobs.folder",
    "JobError": "itemspace.jobs.running",
    "Phase": "itemspace.jobs.chunks",
    "Progress": "itemspace.jobs.standing",
    "Retries": "itemspace.jobs.running",
    "Status": "itemspace.jobs.standing",
    "Work": "itemspace.jobs.work",
    "build": "itemspace.jobs.calls",
    "encode": "itemspace.jobs.calls",
    "evaluate": "itemspace.jobs.calls",
    "read_codes": "itemspace.jobs.results",
    "read_vectors": "itemspace.jobs.results",
    "recommend": "itemspace.jobs.calls",
    "resume": "itemspace.jobs.calls",
    "run": "itemspace.jobs.running",
    "search": "itemspace.jobs.calls",
    "similar": "itemspace.jobs.calls",
    "status": "itemspace.jobs.standing",
    "tokenize": "itemspace.jobs.calls",
    "train": "itemspace.jobs.calls",
}

__all__ = [
    "Chunk",
    "Driving",
    "Job",
    "JobError",
    "Phase",
    "Progress",
    "Retries",
    "Status",
    "Work",
    "build",
    "encode",
    "evaluate",
    "read_codes",
    "read_vectors",
    "recommend",
    "resume",
    "run",
    "search",
    "similar",
    "status",
    "tokenize",
    "train",
]


def __getattr__(name: str) -> Any:
    # Loaded on first use: a worker needs little of it.
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'itemspace.jobs' has no attribute {name!r}")
