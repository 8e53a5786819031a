"""Reading what was asked: never more bytes than allowed, nothing but JSON, every query parameter once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from pydantic import BaseModel, ValidationError

from itemspace.serve.batching import Gone
from itemspace.serve.errors import Refusal, invalid

M = TypeVar("M", bound=BaseModel)


def check_media(headers: Mapping[bytes, bytes]) -> None:
    """Refuse bodies that are no plain JSON.

    Raises:
        Refusal: 415.
    """
    media, _, options = headers.get(b"content-type", b"").decode("latin-1").lower().partition(";")
    if media.strip() != "application/json":
        told = f"`{media.strip()[:80]}`" if media.strip() else "no Content-Type"
        raise Refusal(415, "media_type", f"the body has to come as application/json; this one has {told}.")
    charset = options.partition("charset=")[2].partition(";")[0].strip().strip('"')
    if charset not in ("", "utf-8", "utf8"):
        raise Refusal(415, "media_type", "JSON comes in UTF-8 here.")
    coding = headers.get(b"content-encoding", b"identity").decode("latin-1").strip().lower()
    if coding != "identity":
        raise Refusal(415, "media_type", "the body has to come uncompressed.")


async def read_body(headers: Mapping[bytes, bytes], receive: Any, most: int) -> bytes:
    """The body, read no further than `most` bytes.

    Raises:
        Refusal: 413, it is longer (or says that it will be). Gone: the caller hung up.
    """
    length = headers.get(b"content-length", b"").decode("latin-1")
    if length.isdigit() and int(length[:20]) > most:
        raise _too_large(most)
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Gone("the client has closed its connection.")
        part = message.get("body", b"")
        size += len(part)
        if size > most:
            raise _too_large(most)
        parts.append(part)
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)


def _too_large(most: int) -> Refusal:
    # What is left of the body is not read: the connection has to end with this answer.
    return Refusal(413, "too_large", f"the body has more than {most:,} bytes.", headers={"Connection": "close"})


def from_json(model: type[M], body: bytes) -> M:
    """The body as its model.

    Raises:
        Refusal: 400 where it is no JSON, 422 where it does not fit; says what and where.
    """
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise invalid(model, error) from None


def from_query(model: type[M], query: bytes) -> M:
    """The query of an address as its model.

    Raises:
        Refusal: 400 where it cannot be read or names something twice, 422 where it does not fit.
    """
    values: dict[str, Any] = {}
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=100)
    except ValueError:
        raise Refusal(400, "query", "the query of the address cannot be read; is it UTF-8, percent-encoded?") from None
    for name, value in pairs:
        if name in values:
            raise Refusal(400, "query", f"`{name[:80]}` is given twice.")
        values[name] = value
    try:
        return model.model_validate_strings(values)
    except ValidationError as error:
        raise invalid(model, error) from None
