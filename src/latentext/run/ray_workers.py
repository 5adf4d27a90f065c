"""Workers as Ray actors, on this machine or all over a cluster (extra `ray`).

Plain actors rather than Ray Data: what is to be done is known shard by shard from the receipts, and what comes of it
goes to the shared disk and not through Ray. Ray places the actors, starts one anew when its process or node is lost
(`max_restarts`), and says so by failing the call; the shard is then given out again by `latentext.run.driving`.

All nodes must see the dataset directory under the same path. Ray's usage statistics are off.
"""

from __future__ import annotations

import os
import time
from typing import Any

from latentext.errors import SpecError
from latentext.run.driving import Died, Moved, Said
from latentext.run.worker import Worker, WorkOrder

INSTALL = "pip install 'latentext[ray]'"

_RESTARTING = "The actor is restarting"
"""What Ray says to a call of an actor whose process it is starting anew, at once and without waiting for it."""

_RESTART_SECONDS = 0.5


class RayWorkers:
    """`count` actors that carry out an order; see `latentext.run.driving.Workers`.

    Args:
        address: of a running cluster, ``auto`` for the one of this machine, None to start one here for this run.
        gpus_per_worker: how many GPUs Ray reserves for each actor; it sees those alone.

    Raises:
        SpecError: Ray is not installed, or there is no cluster at the address.
    """

    report_progress = False

    def __init__(self, order: WorkOrder, count: int, *, address: str | None = None, gpus_per_worker: float = 0):
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        try:
            import ray
        except ImportError:
            raise SpecError("Ray is not installed", where="--runner ray", remedy=INSTALL) from None
        self._ray = ray
        self.count = count
        self._ours = not ray.is_initialized()
        if self._ours:
            _connect(ray, address)
        actor = ray.remote(num_cpus=1, num_gpus=gpus_per_worker, max_restarts=-1, max_task_retries=0)(_Actor)
        self._actors = [actor.remote(order) for _ in range(count)]
        self._calls: dict[Any, tuple[int, str, tuple[Any, ...]]] = {}

    def ask(self, worker: int, method: str, *arguments: Any) -> None:
        """Call a method of an actor."""
        self._calls[self._actors[worker].answer.remote(method, arguments)] = worker, method, arguments

    def hear(self, seconds: float) -> Said | Moved | Died | None:
        """The next answer of any actor; shards in progress are not reported on."""
        ready, _ = self._ray.wait(list(self._calls), num_returns=1, timeout=seconds) if self._calls else ([], [])
        if not ready:
            return None
        worker, method, arguments = self._calls.pop(ready[0])
        try:
            error, result = self._ray.get(ready[0])
        except self._ray.exceptions.ActorUnavailableError as lost:
            if _RESTARTING not in str(lost):
                return Died(worker, f"the worker was lost: {str(lost).splitlines()[0]}")
            # It was never begun, so it is no failed try of its shard: it is made again when the actor may be back.
            time.sleep(_RESTART_SECONDS)
            self.ask(worker, method, *arguments)
            return None
        except (self._ray.exceptions.RayActorError, self._ray.exceptions.RaySystemError) as lost:
            return Died(worker, f"the worker was lost: {str(lost).splitlines()[0]}")
        return Said(worker, result, error)

    def replace(self, worker: int) -> None:
        """Make sure that the actor's process is gone; Ray starts it anew."""
        self._calls = {call: asked for call, asked in self._calls.items() if asked[0] != worker}
        self._ray.kill(self._actors[worker], no_restart=False)

    def close(self) -> None:
        """End the actors, and the cluster if it was started for this run; leases of dead actors expire."""
        for actor in self._actors:
            self._ray.kill(actor)
        if self._ours:
            self._ray.shutdown()


class _Actor:
    """A worker in an actor: prepared at its first call, so that its errors are answers."""

    def __init__(self, order: WorkOrder):
        self._order = order
        self._worker: Worker | None = None

    def process_id(self) -> int:
        """Of the actor's process, for whoever watches it."""
        return os.getpid()

    def answer(self, method: str, arguments: tuple[Any, ...]) -> tuple[Exception | None, Any]:
        """(error, result) of a call; errors are not raised, because Ray would wrap them."""
        try:
            self._worker = self._worker or Worker(self._order)
            return None, getattr(self._worker, method)(*arguments)
        except Exception as error:
            return error, None


def _connect(ray: Any, address: str | None) -> None:
    try:
        ray.init(address=address, include_dashboard=False if address is None else None, log_to_driver=False)
    except ConnectionError as error:
        raise SpecError(
            f"no Ray cluster answers at {address}", where="--address", remedy="start one with `ray start --head`"
        ) from error
