"""A Ray cluster of two nodes in namespaces of its own: nothing outside can reach it, and nothing of it outlives the call.

`python -m itemspace.testing.cluster MODULE FUNCTION ARGUMENT...` is the inside: it starts the nodes, calls the function with the
cluster's address and the arguments (texts), and prints what it returns as JSON on the last line.
"""

from __future__ import annotations

import importlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from itemspace.core.extras import require

PORT = 6399
ADDRESS = f"127.0.0.1:{PORT}"
SECOND = "127.0.0.2"
JOIN_SECONDS = 60.0
_STORE_BYTES = 80_000_000


def inside() -> list[str] | None:
    """The command that gives a child its own network, with nothing but `lo`, and its own processes.

    None where this machine does not allow that.
    """
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        return None
    plain = ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    for command in (plain, [plain[0], "--user", "--map-root-user", *plain[1:]]):
        if subprocess.run([*command, "ip", "link", "set", "lo", "up"], capture_output=True).returncode == 0:
            return command
    return None


def call(function: Callable[..., Any], *arguments: object, timeout: float = 120, quiet: bool = True) -> Any:
    """What `function(address, *arguments)` returns inside, as JSON has it.

    Raises:
        AssertionError: it failed; with what it printed.
        RuntimeError: this machine allows no namespaces.
    """
    space = inside()
    if space is None:
        raise RuntimeError("this machine gives no network namespace to a process (unshare --net).")
    module = function.__module__
    if module == "__main__":
        module = Path(sys.argv[0]).stem
    words = [*space, sys.executable, "-m", "itemspace.testing.cluster", module, function.__name__]
    path = os.pathsep.join([os.getcwd(), *(place for place in sys.path if place)])
    done = subprocess.run(
        [*words, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE if quiet else None,
        text=True,
        timeout=timeout,
        env={**os.environ, "PYTHONPATH": path},
    )
    if done.returncode != 0:
        raise AssertionError(f"{done.stdout[-3000:]}\n{(done.stderr or '')[-6000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def main(module: str, function: str, *arguments: str) -> None:
    """The inside of `call`."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16), "RAY_USAGE_STATS_ENABLED": "0"}
    home = tempfile.mkdtemp(prefix="r", dir="/tmp")  # sockets live here: their paths must be short
    try:
        first = ["--head", f"--port={PORT}", "--node-ip-address=127.0.0.1", f"--temp-dir={home}"]
        _start([*first, "--include-dashboard=false"])
        _wait_for_head()
        _start([f"--address={ADDRESS}", f"--node-ip-address={SECOND}"])
        told = getattr(importlib.import_module(module), function)(ADDRESS, *arguments)
        print(json.dumps(told), flush=True)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    os._exit(0)  # the nodes end with this process


def _start(options: list[str]) -> None:
    shared = ["--num-cpus=1", f"--object-store-memory={_STORE_BYTES}", "--block"]
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", *options, *shared]
    subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _wait_for_head() -> None:
    until = time.monotonic() + JOIN_SECONDS
    while time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", PORT), timeout=1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"no head of a cluster within {JOIN_SECONDS:g} s")


def alive() -> int:
    """Inside: the nodes that are there to work. Connects this process to the cluster."""
    ray: Any = require("ray", extra="jobs", needed_for="A cluster")
    ray.init(ADDRESS, namespace="itemspace", log_to_driver=False, logging_level="ERROR", ignore_reinit_error=True)
    return sum(bool(node["Alive"]) for node in ray.nodes())


def wait_for_nodes(count: int = 2) -> None:
    """Inside: until so many nodes are there to work. Connects this process to the cluster."""
    until = time.monotonic() + JOIN_SECONDS
    while alive() < count:
        if time.monotonic() > until:
            raise SystemExit(f"no {count} nodes within {JOIN_SECONDS:g} s")
        time.sleep(0.1)


def kill_node(address: str = SECOND) -> int:
    """Inside: kill the node at `address` with its workers, as a machine that fails would. Returns how many processes."""
    found = {int(place.name): place for place in Path("/proc").glob("[0-9]*")}
    mark = f"--node_ip_address={address}".encode()
    daemon = next(
        (one for one, place in found.items() if _words(place)[0].endswith(b"raylet") and mark in _words(place)), 0
    )
    if not daemon:
        raise SystemExit(f"no node at {address}")
    doomed = [one for one, place in found.items() if one == daemon or _parent(place) == daemon]
    for process in doomed:
        os.kill(process, signal.SIGKILL)
    return len(doomed)


def _words(place: Path) -> list[bytes]:
    try:
        return (place / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return [b""]  # gone meanwhile


def _parent(place: Path) -> int:
    try:
        return int((place / "stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return 0


if __name__ == "__main__":
    main(*sys.argv[1:])
