"""The door to Ray: agents on the nodes of a cluster that `ray start` made.

In: an address. Out: an `Engine`. Must stay true: an agent is started once and its calls are sent
once (max_restarts, max_task_retries = 0); each has a core that Ray gives to nobody else; what Ray
raises ends here, as UserError before a run and as AgentLost in one; Ray's own log stays off our
screen.
"""

from __future__ import annotations

import dataclasses
import os
import socket
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

from bench.errors import UserError
from bench.extras.cluster.agent import Agent
from bench.extras.cluster.node import AgentLost
from bench.load.shard import Place

#: Labels of `ray start --labels` that name a node's region and its name in the run.
REGION_LABEL, NODE_LABEL = "ray.io/region", "tailproof.io/node"
#: Whoever listens at an address says so within this.
_ANSWERS_S = 5.0
#: Agents that a cluster has room for are there within this.
_PLACED_S = 60.0


@dataclasses.dataclass(frozen=True)
class RayAgent:
    """An actor on a node."""

    place: Place
    node_id: str
    _actor: Any

    def ask(self, method: str, *args: Any) -> Future[Any]:
        """Call the agent."""
        answer: Future[Any] = Future()
        try:
            asked = getattr(self._actor, method).remote(*args).future()
        except Exception as error:  # Ray's errors have no common parent but this
            answer.set_exception(AgentLost(_sentence(error)))
            return answer

        def pass_on(done: Future[Any]) -> None:
            error = done.exception()
            if error is None:
                answer.set_result(done.result())
            else:
                answer.set_exception(AgentLost(_sentence(error)))

        asked.add_done_callback(pass_on)
        return answer


class RayEngine:
    """A Ray cluster, joined by this process as its driver."""

    def __init__(self, address: str):
        """Raises UserError where Ray is not installed, or no cluster answers at `address`."""
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            import ray
        except ImportError:
            raise UserError(
                "needs Ray", where="--cluster", remedy="pip install 'tailproof[cluster]'"
            ) from None
        self._ray: Any = ray
        try:
            _refuse_silent_address(address)
            self._ray.init(
                address=address, logging_level="ERROR", log_to_driver=False, configure_logging=False
            )
        except Exception as error:
            raise UserError(
                f"no Ray cluster answers at {address} ({_sentence(error)})",
                where="--cluster",
                remedy=(
                    "start one: ray start --head; and on each further machine ray start"
                    " --address=HOST:6379"
                ),
            ) from None
        self._group: Any = None
        self._actors: list[Any] = []

    @property
    def nodes(self) -> int:
        """How many machines it has now."""
        return len(self._alive())

    def _alive(self) -> list[dict[str, Any]]:
        return [
            node for node in self._ray.nodes() if node["Alive"] and node["Resources"].get("CPU")
        ]

    def agents(self, count: int) -> Sequence[RayAgent]:
        """So many agents, a core each, spread over the nodes.

        Raises UserError where there are not so many.
        """
        from ray.util.placement_group import placement_group, placement_group_table

        free = int(self._ray.available_resources().get("CPU", 0))
        too_many = UserError(
            f"{count} processes need {count} cores, the cluster has {free} free",
            where="--cluster",
            remedy="lower --workers, or add nodes",
        )
        if count > free:
            raise too_many
        self._group = placement_group([{"CPU": 1}] * count, strategy="SPREAD")
        if not self._group.wait(_PLACED_S):
            raise too_many
        chosen = placement_group_table(self._group)["bundles_to_node_id"]
        names = self._names()
        return [self._agent(names[node], node, bundle) for bundle, node in sorted(chosen.items())]

    def agent_on(self, node_id: str, place: Place) -> RayAgent:
        """One more agent on a node, without a core of its own."""
        return self._agent(place, node_id, None)

    def close(self) -> None:
        """Give the agents back."""
        self._ray.shutdown()

    def _names(self) -> dict[str, Place]:
        """Node id -> what it is called: its label, else its number among the nodes in the order of
        their ids.
        """
        nodes = sorted(self._alive(), key=lambda node: str(node["NodeID"]))
        labels = [node.get("Labels") or {} for node in nodes]
        named = [found.get(NODE_LABEL, f"node-{number}") for number, found in enumerate(labels, 1)]
        if len(set(named)) < len(named):
            raise UserError(
                f"two nodes are called {next(name for name in named if named.count(name) > 1)!r}",
                where="--cluster",
                remedy=f"give each its own {NODE_LABEL} in ray start --labels",
            )
        return {
            node["NodeID"]: Place(name, found.get(REGION_LABEL))
            for node, name, found in zip(nodes, named, labels, strict=True)
        }

    def _agent(self, place: Place, node_id: str, bundle: int | None) -> RayAgent:
        from ray.util.scheduling_strategies import (
            NodeAffinitySchedulingStrategy,
            PlacementGroupSchedulingStrategy,
        )

        strategy = (
            NodeAffinitySchedulingStrategy(node_id, soft=False)
            if bundle is None
            else PlacementGroupSchedulingStrategy(self._group, placement_group_bundle_index=bundle)
        )
        actor = self._ray.remote(
            num_cpus=0 if bundle is None else 1, max_restarts=0, max_task_retries=0
        )(Agent)
        made = actor.options(scheduling_strategy=strategy).remote()
        self._actors.append(made)  # an actor that nobody holds is ended
        return RayAgent(place, node_id, made)


def _refuse_silent_address(address: str) -> None:
    """Raises OSError where nobody listens: Ray itself would wait for minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), _ANSWERS_S).close()


def _sentence(error: BaseException) -> str:
    """The first line of what Ray says that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if "No module named 'bench" in str(error):
        return "tailproof is not installed there"
    return lines[0] if lines else type(error).__name__
