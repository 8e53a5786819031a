"""Errors a person can act on: what was seen, where, and the way out.

Every error that itemspace raises on purpose derives from `ItemspaceError`, so a caller (the command line, the server)
can tell "your input" from "our bug". Messages name the file, row, column and value where they are known and end with
what to do next.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ItemspaceError(Exception):
    """Base of every error raised on purpose. Its text is meant for the person who typed the input."""


class DataError(ItemspaceError):
    """A value in the user's data cannot be used as it stands."""

    def __init__(
        self,
        problem: str,
        *,
        file: str | None = None,
        row: int | None = None,
        column: str | None = None,
        hint: str | None = None,
        count: int | None = None,
        nothing_written: bool = True,
    ) -> None:
        self.problem, self.file, self.row, self.column, self.hint, self.count = problem, file, row, column, hint, count
        where = ", ".join(
            part
            for part in (
                file,
                None if row is None else f"row {row:,}",
                None if column is None else f'column "{column}"',
            )
            if part
        )
        lines = [f"{where}: {problem}" if where else problem]
        seen = f"{count:,} rows look like this." if count is not None and count > 1 else None
        if seen or hint:
            lines.append("  " + " ".join(part for part in (seen, hint) if part))
        if nothing_written:
            lines.append("  Nothing was written.")
        super().__init__("\n".join(lines))


class SchemaError(DataError):
    """A column is missing, has the wrong kind, or two declarations disagree."""


class FilterError(ItemspaceError):
    """A `where` expression that cannot be parsed or does not fit the catalogue's columns.

    `position` is the offset (in characters) in the expression at which reading failed.
    """

    def __init__(self, problem: str, *, expression: str | None = None, position: int | None = None) -> None:
        self.problem, self.expression, self.position = problem, expression, position
        text = problem
        if expression is not None:
            text += f"\n  {expression}"
            if position is not None and "\n" not in expression:
                text += "\n  " + " " * position + "^"
        super().__init__(text)


class RequestError(ItemspaceError):
    """A search or recommendation request that cannot be answered: unknown item, bad k, contradictory columns."""


class RecipeError(ItemspaceError):
    """A recipe or component configuration that does not say something buildable."""


class ContractError(ItemspaceError):
    """Two parts do not fit: an index was handed vectors of another space, a pipeline step has the wrong input."""


class SpaceMismatchError(ContractError):
    """Vectors of one vector space were offered to an index built over another."""


class ArtifactError(ItemspaceError):
    """A file or folder on disk is missing, damaged, or not what it claims to be."""


class InUseError(ArtifactError):
    """Another writer is at work on it; the message names its process. Later it may be free."""


class FormatVersionError(ArtifactError):
    """The artifact was written by a newer itemspace; the message names the version that can read it."""


class CapacityError(ItemspaceError):
    """The method would need more memory or time than it states as its limit; the message says what to use instead."""


class MissingExtraError(ItemspaceError, ImportError):
    """An optional back end is not installed; the message carries the one line that installs it."""


def shown(value: object, most: int = 80) -> str:
    """A value as a message can show it: control characters and half characters escaped, cut after `most` characters."""
    text = str(value)
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[: most + 1])
    return text if len(text) <= most else text[:most] + "..."


def nearest(name: str, valid: Iterable[str]) -> str:
    """The hint " Did you mean `x`?" for a misspelt name, or an empty string when nothing is close."""
    close = difflib.get_close_matches(name, list(valid), n=1, cutoff=0.6)
    return f" Did you mean `{close[0]}`?" if close else ""
