"""A Ray cluster of two nodes in namespaces of its own: nothing outside can reach it, and nothing of it outlives the run.

`python -m tests.jobs.cluster MODULE FUNCTION ARGUMENT...` is the inside: it starts the nodes, calls the function with the
cluster's address and the arguments, and prints what it returns as JSON on the last line.
"""

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
from pathlib import Path

PORT = 6399
ADDRESS = f"127.0.0.1:{PORT}"
JOIN_SECONDS = 60


def inside():
    """The command that gives a child its own network (with nothing but `lo`) and its own processes; None where that is not

    allowed.
    """
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        return None
    plain = ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    for command in (plain, [plain[0], "--user", "--map-root-user", *plain[1:]]):
        tried = subprocess.run([*command, "ip", "link", "set", "lo", "up"], capture_output=True)
        if tried.returncode == 0:
            return command
    return None


def call(function, *arguments, timeout=120):
    """What `function(address, *arguments)` returns inside, as JSON has it. Raises with its output where it fails."""
    command = [*inside(), sys.executable, "-m", "tests.jobs.cluster", function.__module__, function.__name__]
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join([root, *(p for p in sys.path if p)])
    done = subprocess.run(
        [*command, *map(str, arguments)], capture_output=True, text=True, timeout=timeout, cwd=root,
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    if done.returncode != 0:
        raise AssertionError(f"{done.stdout[-3000:]}\n{done.stderr[-6000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def main(module, function, *arguments):
    sys.modules["tests.jobs.cluster"] = sys.modules["__main__"]
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    os.environ |= {
        "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16), "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_DISABLE_IMPORT_WARNING": "1", "RAY_DEDUP_LOGS": "0",
    }  # fmt: skip
    home = tempfile.mkdtemp(prefix="r", dir="/tmp")  # sockets live here: their paths must be short
    try:
        start(
            [
                "--head",
                f"--port={PORT}",
                "--node-ip-address=127.0.0.1",
                f"--temp-dir={home}",
                "--include-dashboard=false",
            ]
        )
        wait_for(PORT)
        start([f"--address={ADDRESS}", "--node-ip-address=127.0.0.2"])
        told = getattr(importlib.import_module(module), function)(ADDRESS, *arguments)
        print(json.dumps(told), flush=True)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    os._exit(0)  # the nodes end with this process


def start(options):
    log = subprocess.DEVNULL if "CLUSTER_LOG" not in os.environ else None
    shared = ["--num-cpus=1", "--object-store-memory=80000000", "--block"]
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", *options, *shared]
    return subprocess.Popen(command, stdout=log, stderr=log)


def wait_for(port):
    until = time.monotonic() + JOIN_SECONDS
    while time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"no head of a cluster within {JOIN_SECONDS} s")


def wait_for_nodes(count):
    """Until so many nodes are there to work."""
    import ray

    until = time.monotonic() + JOIN_SECONDS
    ray.init(ADDRESS, namespace="itemspace", log_to_driver=False, logging_level="ERROR", ignore_reinit_error=True)
    while sum(node["Alive"] for node in ray.nodes()) < count:
        if time.monotonic() > until:
            raise SystemExit(f"no {count} nodes within {JOIN_SECONDS} s")
        time.sleep(0.1)


def kill_node(address):
    """Kill the daemon of the node at `address`, as a machine that fails would: its workers end with it."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue  # gone meanwhile
        if words[0].endswith(b"raylet") and f"--node_ip_address={address}".encode() in words:
            os.kill(int(process.name), signal.SIGKILL)
            return int(process.name)
    raise SystemExit(f"no node at {address}")


if __name__ == "__main__":
    main(*sys.argv[1:])
