"""Optional back ends, imported when first used, with the one line that installs them in the error."""

from __future__ import annotations

import importlib
from types import ModuleType

from itemspace.core.errors import MissingExtraError


def require(module: str, *, extra: str, needed_for: str) -> ModuleType:
    """Import `module`, or say which extra brings it.

    Raises:
        MissingExtraError: the module is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"{needed_for} needs `{module.split('.')[0]}`, which is not installed. Install it with:\n"
            f'  pip install "itemspace[{extra}]"'
        ) from error
