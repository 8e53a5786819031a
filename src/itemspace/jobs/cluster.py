"""Workers on a Ray cluster (extra `jobs`). Ray places and watches them; what is done is known from the job's files.

Every node must see the job's folder under the same path, and have the same itemspace. itemspace starts no cluster:
`ray start --head` listens on every interface of its machine, so it is for the one who runs it to choose where, and to set
a token (`RAY_AUTH_MODE=token`, `RAY_AUTH_TOKEN`) on every node and for the driver.
"""

from __future__ import annotations

import socket
import time
from typing import Any

from itemspace._version import __version__
from itemspace.core.errors import ContractError, RequestError
from itemspace.core.extras import require
from itemspace.jobs.backends import Backend
from itemspace.jobs.folder import Job
from itemspace.jobs.worker import Order, Outcome, perform

REACH_SECONDS = 10.0
"""How long the head of a cluster may take to accept a connection."""
PROBE_SECONDS = 120.0
"""How long a node may take to start its first worker."""
EMPTY_SECONDS = 60.0
"""How long a cluster may have no processor for us before the job stops."""


class Cluster(Backend):
    """Workers of a Ray cluster, spread over its nodes."""

    def __init__(self, address: str, *, workers: int, cpus: int = 1) -> None:
        """Connect to the cluster at `address` ("host:port", or "auto" for the one this machine belongs to).

        Raises:
            MissingExtraError: Ray is not installed.
            RequestError: nothing answers there, or the token is not the cluster's.
        """
        self.workers, self._cpus = workers, cpus
        self._ray: Any = require("ray", extra="jobs", needed_for="A job on a cluster")
        self._own = not self._ray.is_initialized()
        if self._own:
            _reach(address)
            try:
                self._ray.init(address=address, namespace="itemspace", log_to_driver=False, logging_level="ERROR")
            except (ConnectionError, RuntimeError, ValueError, self._ray.exceptions.RayError) as error:
                raise RequestError(
                    f"the Ray cluster at {address} does not take us in: {str(error).strip().rstrip('.')}.{_TOKEN}"
                ) from None
        # Files say what is done, so Ray need not try again by itself.
        self._remote = self._ray.remote(perform).options(
            num_cpus=cpus, max_retries=0, scheduling_strategy="SPREAD", name="itemspace chunk"
        )
        self._orders: dict[Any, Order] = {}
        self._empty_since: float | None = None

    def check(self, job: Job) -> None:
        """Ask every node whether it sees the job and has the same itemspace.

        Raises:
            ContractError: a node does not; names it.
        """
        strategies = require("ray.util.scheduling_strategies", extra="jobs", needed_for="A job on a cluster")
        nodes = [node for node in self._ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) >= self._cpus]
        if not nodes:
            raise ContractError(f"no node of the cluster has {self._cpus} processors for a worker. Add one: ray start.")
        look = self._ray.remote(sees)
        asked = {}
        for node in nodes:
            place = strategies.NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            asked[
                look.options(num_cpus=0, max_retries=2, scheduling_strategy=place).remote(
                    str(job.path.absolute()), job.key
                )
            ] = node
        ended, late = self._ray.wait(list(asked), num_returns=len(asked), timeout=PROBE_SECONDS)
        for ref in late:
            raise ContractError(
                f"node {_called(asked[ref])} starts no worker within {PROBE_SECONDS:g} s; see its logs."
            )
        for ref in ended:
            try:
                told = self._ray.get(ref)
            except self._ray.exceptions.RayError as error:
                told = f"cannot run itemspace ({str(error).strip().splitlines()[-1]}): install it there"
            if told:
                raise ContractError(f"node {_called(asked[ref])} {told}.")

    def submit(self, order: Order) -> None:
        self._orders[self._remote.remote(order)] = order

    def wait(self, seconds: float) -> list[tuple[Order, Outcome]]:
        if not self._orders:
            return []
        ended, _ = self._ray.wait(list(self._orders), num_returns=1, timeout=max(seconds, 0.01))
        if not ended:
            self._is_empty()
        errors = self._ray.exceptions
        done: list[tuple[Order, Outcome]] = []
        for ref in ended:
            order = self._orders.pop(ref)
            try:
                done.append((order, self._ray.get(ref)))
            except errors.RayTaskError as error:
                done.append((order, Outcome(False, str(error.cause or error), hopeless=True)))
            except errors.RayError as error:
                told = f"its worker was lost ({type(error).__name__})"
                done.append((order, Outcome(False, told, lost=True)))
        return done

    def _is_empty(self) -> None:
        """Stop when nodes have left and none is there to work.

        Raises:
            ContractError: the cluster has had no processors for a while.
        """
        if self._ray.cluster_resources().get("CPU", 0) >= self._cpus:
            self._empty_since = None
            return
        self._empty_since = self._empty_since or time.monotonic()
        if time.monotonic() - self._empty_since > EMPTY_SECONDS:
            raise ContractError(
                f"the cluster has had no processors for {EMPTY_SECONDS:g} s. What is done is kept: add nodes and resume."
            )

    def close(self) -> None:
        for ref in self._orders:
            self._ray.cancel(ref, force=True)
        if self._own:
            self._ray.shutdown()


_TOKEN = " Set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN to what the cluster was started with."


def sees(folder: str, key: str) -> str:
    """On a node: why it cannot work on the job in `folder`; empty where it can."""
    try:
        job = Job.open(folder)
    except Exception as error:
        return (
            f"cannot open the job: {error} Every node must see the folder under the same path (itemspace {__version__})"
        )
    return "" if job.key == key else f"sees another job at {folder}"


def _called(node: dict[str, Any]) -> str:
    return f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"


def _reach(address: str) -> None:
    """Have the head answer at all: Ray itself would go on trying for minutes.

    Raises:
        RequestError: not host:port, or nobody listens there.
    """
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65_536:
        raise RequestError(f'"{address}" is not the address of a Ray cluster: give host:port, or auto.')
    try:
        socket.create_connection((host, int(port)), timeout=REACH_SECONDS).close()
    except OSError as error:
        raise RequestError(
            f"nothing answers at {address} ({error.strerror or error}). Start a cluster there: ray start --head --port {port}"
        ) from None
