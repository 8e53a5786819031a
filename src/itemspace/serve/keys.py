"""API keys: kept as hashes with a name, scopes and perhaps a last day, compared in constant time.

A key file has a line per key, `NAME SCOPES sha256:HASH` or `NAME SCOPES sha256:HASH until:2027-12-31`, its last day (UTC)
or a moment such as 2027-12-31T18:00+01:00; scopes are `read`, `write` or `read,write`, and lines that start with # say
nothing. `new_key` makes a key and its line. The environment variable that stands for the file holds the same
lines, separated by line ends or semicolons, and there a key may also be given as it is: `NAME SCOPES plain:KEY`.
"""

from __future__ import annotations

import datetime
import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

from itemspace.core.errors import RecipeError, shown
from itemspace.serve.config import ServeConfig
from itemspace.serve.errors import Refusal

SCOPES = ("read", "write")
SHORTEST = 16
"""Least characters of a key that was not made here."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_HASH = re.compile(r"sha256:([0-9a-f]{64})")
_SAY = (
    "Write `NAME SCOPES sha256:HASH`, such as the line that itemspace.serve.new_key() makes; scopes are read, write or "
    "read,write; `until:2027-12-31` after it names the last day."
)


@dataclass(frozen=True)
class Key:
    """A caller: name, scopes and the SHA-256 of the key itself. Keys are long and random, so a plain hash is enough.

    until: from when it opens nothing any more, with a time zone; None for always.
    """

    name: str
    scopes: frozenset[str]
    digest: bytes
    until: datetime.datetime | None = None

    def expired(self, now: datetime.datetime | None = None) -> bool:
        """Whether its time is over. now: with a time zone, by default the present."""
        return self.until is not None and (now or datetime.datetime.now(datetime.UTC)) >= self.until


@dataclass(frozen=True)
class Keys:
    """The keys a server knows; without any, all is allowed and only this machine may ask."""

    known: tuple[Key, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.known)

    @classmethod
    def of(cls, config: ServeConfig, environment: Mapping[str, str] = os.environ) -> Self:
        """The keys of the configured file, or else of the environment.

        Raises:
            RecipeError: the file cannot be read, a line says something else, a name or key occurs twice.
        """
        if config.key_file is not None:
            try:
                lines = config.key_file.read_text(encoding="utf-8").splitlines()
            except (OSError, UnicodeDecodeError) as error:
                raise RecipeError(f"the key file {config.key_file} cannot be read: {error}.") from None
            found = cls(tuple(_read(lines, str(config.key_file), plain=False)))
            if not found:
                raise RecipeError(f"{config.key_file} holds no key. {_SAY}")
            return found
        given = environment.get(config.key_env, "")
        return cls(tuple(_read(re.split(r"[\n;]", given), config.key_env, plain=True)))

    def find(self, key: str) -> Key | None:
        """Whose key this is. Every key is compared, in a time that does not depend on how much of it fits."""
        digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
        found = None
        for known in self.known:
            if hmac.compare_digest(known.digest, digest):
                found = known
        return found

    def check_bind(self, config: ServeConfig) -> None:
        """Refuse to be reached from other machines without a key.

        Raises:
            RecipeError: the host is not this machine and there is no key.
        """
        if not self and not config.local:
            raise RecipeError(
                f"{config.host} can be reached from other machines, and no key is configured. Make one with "
                f"itemspace.serve.new_key(), put its line into a file and name that as key_file (or set {config.key_env}); "
                "or serve this machine alone: host 127.0.0.1."
            )


def new_key(
    name: str = "key", scopes: Iterable[str] = ("read",), until: datetime.date | str | None = None
) -> tuple[str, str]:
    """A new random key, and the line to put into the key file. The key itself is kept nowhere: note it down.

    until: its last day, or the moment from which it opens nothing; without one it opens for ever.

    Raises:
        RecipeError: a name with other characters than letters, digits, ".", "_" and "-", an unknown scope, or no date.
    """
    key = f"its_{secrets.token_urlsafe(32)}"
    line = f"{name} {','.join(sorted(set(scopes)))} sha256:{hashlib.sha256(key.encode()).hexdigest()}"
    if until is not None:
        line += f" until:{until if isinstance(until, str) else until.isoformat()}"
    next(iter(_read([line], "new_key", plain=False)))
    return key, line


def presented(headers: Mapping[bytes, bytes]) -> str | None:
    """The key a request brings, from `Authorization: Bearer KEY` or `X-API-Key`; None without either.

    Raises:
        Refusal: both are there and differ, or the authorization is of another kind.
    """
    named, bearer = headers.get(b"x-api-key"), headers.get(b"authorization")
    keys = set()
    if named is not None:
        keys.add(named.decode("latin-1").strip())
    if bearer is not None:
        kind, _, key = bearer.decode("latin-1").strip().partition(" ")
        if kind.lower() != "bearer" or not key.strip():
            raise unauthorized("the Authorization header says something else than `Bearer KEY`.")
        keys.add(key.strip())
    if len(keys) > 1:
        raise unauthorized("Authorization and X-API-Key bring different keys; send one.")
    return keys.pop() if keys else None


def unauthorized(message: str) -> Refusal:
    return Refusal(401, "unauthorized", message, headers={"WWW-Authenticate": "Bearer"})


def _read(lines: Iterable[str], source: str, *, plain: bool) -> Iterable[Key]:
    names: set[str] = set()
    digests: set[bytes] = set()
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.strip().startswith("#"):
            continue
        key = _key(line.split(), f"{source}, line {number}", plain=plain)
        if key.name in names or key.digest in digests:
            raise RecipeError(f"{source}, line {number}: the name or the key of `{key.name}` is there twice.")
        names.add(key.name)
        digests.add(key.digest)
        yield key


def _key(words: list[str], place: str, *, plain: bool) -> Key:
    """One line as a key. What is wrong with the key itself is said without showing it."""
    if not 3 <= len(words) <= 4:
        raise RecipeError(f"{place}: {len(words)} words are no key. {_SAY}")
    name, scopes, secret = words[:3]
    if not _NAME.fullmatch(name):
        raise RecipeError(f'{place}: "{shown(name)}" is no name for a key; use letters, digits, ".", "_" and "-".')
    wanted = frozenset(scopes.split(","))
    if not wanted <= set(SCOPES):
        raise RecipeError(f"{place}: unknown scope `{shown(min(wanted - set(SCOPES)))}`. {_SAY}")
    until = _until(words[3], place, name) if len(words) == 4 else None
    hashed = _HASH.fullmatch(secret)
    if hashed:
        return Key(name, wanted, bytes.fromhex(hashed[1]), until)
    if plain and secret.startswith("plain:") and len(secret) >= SHORTEST + len("plain:"):
        return Key(name, wanted, hashlib.sha256(secret.removeprefix("plain:").encode()).digest(), until)
    raise RecipeError(f"{place}: the key of `{name}` is neither a hash nor long enough. {_SAY}")


def _until(word: str, place: str, name: str) -> datetime.datetime:
    """From when a key opens nothing: the end of the day that `until:DAY` names, or the moment."""
    told = word.removeprefix("until:")
    try:
        if told != word and len(told) == len("2027-12-31"):
            day = datetime.date.fromisoformat(told) + datetime.timedelta(days=1)
            return datetime.datetime.combine(day, datetime.time.min, datetime.UTC)
        moment = datetime.datetime.fromisoformat(told)
    except (ValueError, OverflowError):
        moment = None
    if moment is None or told == word:
        raise RecipeError(f'{place}: the key of `{name}` ends with "{shown(word)}", which names no day. {_SAY}')
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=datetime.UTC)
