"""A worker process: orders come as lines of JSON on standard input, an outcome goes back for each."""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import asdict

from itemspace.jobs.worker import Order, perform


def main() -> None:
    """Work until the one who gives orders is gone."""
    # What libraries print must not be taken for an outcome.
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupted driver stops its workers itself
    for line in sys.stdin.buffer:
        outcome = perform(Order(**json.loads(line)))
        try:
            answers.write(json.dumps(asdict(outcome)).encode() + b"\n")
        except BrokenPipeError:
            return


if __name__ == "__main__":
    main()
