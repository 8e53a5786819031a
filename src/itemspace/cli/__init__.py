"""The command line: thin commands over the same calls the Python front door offers."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line. Expected problems print one message and exit with 2; bugs keep their traceback."""
    from itemspace.cli.app import app
    from itemspace.core.errors import ItemspaceError

    try:
        app()
    except ItemspaceError as error:
        print(f"itemspace: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:  # `itemspace ... | head`
        sys.stderr.close()
        sys.exit(0)
