"""itemspace: a catalogue and its logs in, search and recommendations out.

The public names load on first use, so importing the package costs little and has no side effects.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from itemspace._version import __version__

if TYPE_CHECKING:
    from itemspace.core.catalog import Catalog
    from itemspace.core.dataset import Dataset
    from itemspace.core.errors import ItemspaceError
    from itemspace.core.hits import Hits
    from itemspace.core.interactions import Interactions
    from itemspace.core.judgments import Judgments, Queries
    from itemspace.core.requests import Requests
    from itemspace.core.schema import Schema

_PUBLIC = {
    "Catalog": "itemspace.core.catalog",
    "Dataset": "itemspace.core.dataset",
    "Hits": "itemspace.core.hits",
    "Interactions": "itemspace.core.interactions",
    "ItemspaceError": "itemspace.core.errors",
    "Judgments": "itemspace.core.judgments",
    "Queries": "itemspace.core.judgments",
    "Requests": "itemspace.core.requests",
    "Schema": "itemspace.core.schema",
    "Space": "itemspace.space",
}

__all__ = [
    "Catalog",
    "Dataset",
    "Hits",
    "Interactions",
    "ItemspaceError",
    "Judgments",
    "Queries",
    "Requests",
    "Schema",
    "Space",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'itemspace' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
