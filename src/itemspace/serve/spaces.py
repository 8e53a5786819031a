"""`Spaces`: all that one server serves, by name."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Self

from itemspace.core.errors import RequestError, nearest
from itemspace.serve.served import Configured, Served, ServedOptions


class UnknownSpace(RequestError):
    """The server has no Space of that name."""


class Spaces:
    """The Spaces of one server, by name."""

    def __init__(self, served: Mapping[str, Served]) -> None:
        """Use `open`."""
        self._served = dict(served)

    @classmethod
    def open(cls, config: Configured, options: ServedOptions | None = None) -> Self:
        """Open every Space that `config` names. options: instead of what `config` says of threads and limits.

        Raises:
            ArtifactError: one of them is missing or damaged.
        """
        chosen = options or ServedOptions.of(config)
        return cls({name: Served.open(name, path, chosen) for name, path in config.spaces.items()})

    @property
    def names(self) -> list[str]:
        return list(self._served)

    @property
    def ready(self) -> bool:
        """Whether all of them answer."""
        return all(served.ready for served in self._served.values())

    def __iter__(self) -> Iterator[Served]:
        return iter(self._served.values())

    def get(self, name: str) -> Served:
        """The Space of that name.

        Raises:
            UnknownSpace: there is none.
        """
        if name not in self._served:
            raise UnknownSpace(f"there is no Space `{name}` here.{nearest(name, self._served)}")
        return self._served[name]

    async def close(self) -> None:
        """Close them all."""
        await asyncio.gather(*(served.close() for served in self._served.values()))
