"""How a lab is doing, node by node."""

from __future__ import annotations

from dataclasses import dataclass

from .batches import namespace
from .lab import Lab
from .topology import LabError, Role

ESTABLISHED = "Established"


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """`daemons` says of each whether it runs; `sessions` gives the state of each BGP session by the
    neighbour's name (FRR nodes only); `attached` is the access network of a mobile router."""

    name: str
    role: str
    namespace: str
    address: str
    daemons: dict[str, bool]
    sessions: dict[str, str]
    attached: str | None


@dataclass(frozen=True, slots=True)
class LabStatus:
    """The lab is ready when nothing is `missing`."""

    lab: str
    config: str
    ready: bool
    missing: list[str]
    nodes: list[NodeStatus]


def lab_status(lab: Lab) -> LabStatus:
    """Ask the kernel and FRR. Sessions of a FRR that does not answer are left out, and it is missing."""
    nodes = [
        NodeStatus(
            name=node.name,
            role=str(node.role),
            namespace=namespace(lab.name, node.name),
            address=str(node.address),
            daemons={one.name: one.alive for one in lab.state.processes if one.node == node.name},
            sessions=_sessions(lab, node.name),
            attached=lab.attachment(node.name) if node.role is Role.MOBILE_ROUTER else None,
        )
        for node in lab.topology.nodes
    ]
    missing = lab.missing()
    return LabStatus(lab.name, lab.state.config, not missing, missing, nodes)


def _sessions(lab: Lab, node: str) -> dict[str, str]:
    if node not in lab.topology.bgp_routers:
        return {}
    try:
        return lab.bgp_sessions(node)
    except LabError:
        return {}
