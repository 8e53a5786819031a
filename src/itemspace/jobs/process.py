"""A worker process: orders come as lines of JSON on standard input, an outcome goes back for each."""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
from dataclasses import asdict

from itemspace.jobs.worker import Order, perform


def main() -> None:
    """Work until the one who gives orders is gone."""
    # What libraries print must not be taken for an outcome.
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupted driver stops its workers itself
    orders: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(orders,), daemon=True).start()
    while True:
        outcome = perform(Order(**json.loads(orders.get())))
        try:
            answers.write(json.dumps(asdict(outcome)).encode() + b"\n")
        except BrokenPipeError:
            return


def _listen(orders: queue.SimpleQueue[bytes]) -> None:
    """Take orders until the one who gives them is gone; then end this process, whatever it is at.

    Another driver may have taken up the job, and two workers must not write one checkpoint.
    """
    for line in sys.stdin.buffer:
        orders.put(line)
    os._exit(0)


if __name__ == "__main__":
    main()
