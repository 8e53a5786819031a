"""`itemspace serve`: Spaces over HTTP.

`create_app(config)` makes the ASGI application; what it needs beyond the base install comes with the extra `serve`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from itemspace.core.extras import require
from itemspace.serve.config import Limits, Logs, ServeConfig
from itemspace.serve.keys import new_key

if TYPE_CHECKING:
    from itemspace.serve.app import Application

__all__ = ["Limits", "Logs", "ServeConfig", "create_app", "new_key"]


def create_app(config: ServeConfig, *, systems: Callable[[], Sequence[Mapping[str, Any]]] | None = None) -> Application:
    """The ASGI application that answers for the Spaces of `config`, which it opens when the server starts it. The log goes
    to standard output as the configuration says.

    systems: lists the gallery (rows as `GET /v1/systems` tells them); without it that endpoint answers 404.

    Raises:
        RecipeError: the configuration cannot be served safely or names a Space that is not there.
        MissingExtraError: the extra `serve` is not installed.
    """
    for module in ("orjson", "starlette", "prometheus_client"):
        require(module, extra="serve", needed_for="the server")
    from itemspace.serve.app import Application
    from itemspace.serve.logs import configure

    made = Application(config, systems=systems)
    configure(config.logs.format)
    return made
