"""Where a database is: an address without a secret, or the name of the environment variable that holds one.

A Space's files name the database; they may be copied and shown, so no password may stand in them.
"""

from __future__ import annotations

import os
import re
from urllib.parse import parse_qsl, urlsplit

from itemspace.core.errors import shown
from itemspace.store.contract import UnreachableError

_ENV = "env:"
_SECRET = re.compile(r"(?i)\b(password|passwd|token|secret|sslpassword|api_?key)\s*=")


def without_secret(url: str) -> str:
    """`url` as a configuration may keep it.

    Raises:
        ValueError: it holds a password, or is an `env:` without the name of a variable.
    """
    if url.startswith(_ENV):
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", url.removeprefix(_ENV)):
            raise ValueError("after `env:` comes the name of an environment variable")
        return url
    try:
        parts = urlsplit(url)
        secret = bool(parts.password) or any(_SECRET.match(f"{key}=") for key, _ in parse_qsl(parts.query))
    except ValueError:
        raise ValueError("this is not an address") from None
    if secret or _SECRET.search(url):
        raise ValueError(
            "an address with a password would be kept in the Space's files; put it in an environment variable and "
            'name that: url = "env:NAME"'
        )
    return url


def resolved(url: str, *, what: str) -> str:
    """The address itself.

    Raises:
        UnreachableError: the environment variable is not set.
    """
    if not url.startswith(_ENV):
        return url
    name = url.removeprefix(_ENV)
    found = os.environ.get(name)
    if not found:
        raise UnreachableError(
            f"{what} is in the database that the environment variable {name} names, and it is not set.\n"
            f"  Set it: export {name}=..."
        )
    return found


def hidden(text: str) -> str:
    """A message without the passwords that addresses in it carry."""
    return shown(re.sub(r"(://[^:/@\s]+):[^@\s]+@", r"\1:***@", text), 600)
