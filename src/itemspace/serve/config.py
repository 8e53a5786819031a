"""What a server is told: Spaces, address, keys, limits. Defaults live here; a TOML file and options only override.

```text
host = "127.0.0.1"
port = 8000
key_file = "keys.txt"            # needed for any other host than this machine itself

[spaces]
shop = "shop.space"              # paths are relative to this file

[rules]
shop = "shop-rules.toml"

[limits]
timeout_s = 5.0
```
"""

from __future__ import annotations

import ipaddress
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationInfo, field_validator

from itemspace.core.config import Config
from itemspace.core.errors import RecipeError, shown

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
"""What a Space may be called in addresses."""
ORIGIN = re.compile(r"https?://([a-z0-9.-]+|\[[0-9a-f:]+\])(:[0-9]{1,5})?")
LOCAL_NAMES = ("localhost", "localhost.localdomain", "ip6-localhost")


class Limits(Config):
    """How much one request may ask for, and how many may ask at once. Sizes in bytes, times in seconds."""

    max_body_bytes: int = Field(1 << 20, ge=1)
    max_write_bytes: int = Field(16 << 20, ge=1)
    max_k: int = Field(1_000, ge=1)
    max_offset: int = Field(10_000, ge=0)
    max_batch: int = Field(256, ge=1)
    """Queries, histories or users of one batch, or items of one `items/get`."""
    max_hits: int = Field(20_000, ge=1)
    """Hits of a whole batch: its size times k."""
    max_rows: int = Field(10_000, ge=1)
    """Items or events of one write."""
    max_history: int = Field(1_000, ge=1)
    max_query: int = Field(2_000, ge=1)
    """Characters of a query."""
    timeout_s: float = Field(10.0, gt=0)
    write_timeout_s: float = Field(60.0, gt=0)
    max_waiting: int = Field(256, ge=1)
    """Requests at work or waiting in one process; more are answered 503."""
    rate_per_s: float = Field(0.0, ge=0)
    """Requests a second that one key (or, without a key, one address) may make, of all workers together; 0 for no limit."""
    burst: int = Field(20, ge=1)
    """How many of these may come at once."""


class Logs(Config):
    """One line per request on standard output."""

    format: Literal["json", "text", "off"] = "json"
    queries: bool = False
    """Write what was searched for, too. It may be personal data."""


class ServeConfig(Config):
    """Everything `create_app` and `itemspace serve` need to know."""

    spaces: dict[str, Path] = Field(min_length=1)
    rules: dict[str, Path] = Field(default_factory=dict)
    """Merchandising rules of a Space, by its name."""
    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65_535)
    workers: int = Field(1, ge=1, le=256)
    threads: int = Field(2, ge=1, le=256)
    """Requests one worker process answers at the same moment."""
    key_file: Path | None = None
    key_env: str = "ITEMSPACE_KEYS"
    """The environment variable that holds keys where there is no file."""
    allowed_hosts: tuple[str, ...] = ()
    """Names under which a server without keys may be asked, besides those of this machine."""
    cors_origins: tuple[str, ...] = ()
    """Origins such as "https://www.example.org" whose pages may ask from a browser; by default none but its own."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses of proxies whose `X-Forwarded-For` is believed."""
    page: bool = True
    limits: Limits = Limits()
    logs: Logs = Logs()

    @field_validator("spaces")
    @classmethod
    def _names(cls, spaces: dict[str, Path]) -> dict[str, Path]:
        for name in spaces:
            if not NAME.fullmatch(name):
                raise ValueError(
                    f'"{shown(name)}" cannot be part of an address; name a Space with letters, digits, "-" and "_"'
                )
        return spaces

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            if not ORIGIN.fullmatch(origin):
                told = "name each origin as a browser sends it, such as https://www.example.org: no path, no *"
                raise ValueError(f'"{shown(origin)}" is no origin; {told}')
        return origins

    @field_validator("rules")
    @classmethod
    def _rules_of_spaces(cls, rules: dict[str, Path], info: ValidationInfo) -> dict[str, Path]:
        spaces = info.data.get("spaces", rules)
        strangers = sorted(set(rules) - set(spaces))
        if strangers:
            raise ValueError(f"rules for `{strangers[0]}`, which is no Space here; there are {', '.join(spaces)}")
        return rules

    @property
    def local(self) -> bool:
        """Whether only this machine can reach the server."""
        return is_local(self.host)

    def check_paths(self) -> None:
        """Refuse Spaces and rules that are not there.

        Raises:
            RecipeError: names the first.
        """
        for name, path in self.spaces.items():
            if not (path / "CURRENT").is_file():
                raise RecipeError(f"there is no Space at {path} (`{name}`). Build it: itemspace build ITEMS -o {path}")
        for name, path in self.rules.items():
            if not path.is_file():
                raise RecipeError(f"there is no rules file {path} (`{name}`). Write one, or leave the entry out.")

    @classmethod
    def load(cls, path: str | Path | None = None, overrides: Mapping[str, Any] | None = None) -> Self:
        """The configuration in a TOML file, with `overrides` (nested in the same way) before it.

        Paths in the file are relative to the file's folder, those of `overrides` to the current one.

        Raises:
            RecipeError: the file cannot be read, an unknown key (names the nearest), a value that does not fit.
        """
        values: dict[str, Any] = {}
        if path is not None:
            at = Path(path)
            try:
                values = tomllib.loads(at.read_text(encoding="utf-8"))
            except OSError as error:
                raise RecipeError(f"{at} cannot be read: {error.strerror}.") from None
            except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
                raise RecipeError(f"{at} is not a TOML file: {error}.") from None
            values = _placed(values, at.parent)
        return cls.parse(_merged(values, overrides or {}), where="" if path is None else str(path))


def is_local(host: str) -> bool:
    """Whether a host name or address means this machine itself, whatever the network."""
    name = host.strip("[]").lower()
    if name in LOCAL_NAMES:
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _placed(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The values with their paths under `folder`; what is no text is left for validation to refuse."""
    out = dict(values)
    for table in ("spaces", "rules"):
        if isinstance(values.get(table), Mapping):
            out[table] = {k: str(folder / v) if isinstance(v, str) else v for k, v in values[table].items()}
    if isinstance(values.get("key_file"), str):
        out["key_file"] = str(folder / values["key_file"])
    return out


def _merged(values: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`values` with those of `over` instead; tables are merged key by key."""
    out = dict(values)
    for key, value in over.items():
        before = out.get(key)
        out[key] = _merged(before, value) if isinstance(before, Mapping) and isinstance(value, Mapping) else value
    return out
