"""Make and unmake the namespaces of a lab: runs what `batches` wrote, many at a time."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from . import batches
from .processes import end, end_all_in, namespaces_of_lab, remove_crash_log
from .state import recorded_processes, remove_directory
from .topology import LabError, Node, Topology

_AT_ONCE = 8
Checkpoint = Callable[[], None]
"""Called between steps; what it raises ends the making of the lab, and cleans up."""


def build(lab: str, topology: Topology, checkpoint: Checkpoint) -> None:
    """Make namespaces, links, addresses and routes. Raises LabError with what a program complained of."""
    run(("ip", "-batch", "-"), batches.namespace_batch(lab, topology))
    checkpoint()
    _each(topology.nodes, lambda node: _set(lab, node, batches.node_settings(node)))
    checkpoint()
    run(("ip", "-batch", "-"), batches.link_batch(lab, topology))
    checkpoint()
    _each(topology.nodes, lambda node: _set(lab, node, batches.interface_settings(node)))
    checkpoint()
    _each(topology.nodes, lambda node: _configure(lab, node))


def remove(lab: str) -> bool:
    """End every process of a lab and remove all that is left of it, also of one that came up half.

    Gives False when there was nothing. Works without the configuration. A second call does no harm.
    """
    namespaces = namespaces_of_lab(lab)
    pids = end_all_in(namespaces)
    for process in recorded_processes(lab):
        end(process)
    for pid in pids:
        remove_crash_log(pid)
    if namespaces:
        deletions = "".join(f"netns delete {namespace}\n" for namespace in namespaces)
        run(("ip", "-force", "-batch", "-"), deletions)
    return remove_directory(lab) or bool(namespaces)


def run(argv: tuple[str, ...], text: str = "") -> str:
    """Run a program with this input and give back its output. Raises LabError if it fails.

    It gets a process group of its own: Ctrl-C at the terminal is for us, who then end in good order.
    """
    done = subprocess.run(argv, input=text, capture_output=True, text=True, process_group=0, check=False)
    if done.returncode:
        raise LabError(f"{' '.join(argv)} failed ({done.returncode}): {done.stderr.strip() or done.stdout}")
    return done.stdout


def inside(lab: str, node: str, *argv: str) -> tuple[str, ...]:
    """The command line that runs a program in a node."""
    return ("ip", "netns", "exec", batches.namespace(lab, node), *argv)


def _set(lab: str, node: Node, settings: tuple[str, ...]) -> None:
    if settings:
        run(inside(lab, node.name, "sysctl", "-q", "-w", *settings))


def _configure(lab: str, node: Node) -> None:
    run(("ip", "-netns", batches.namespace(lab, node.name), "-batch", "-"), batches.node_batch(node))


def _each(nodes: Iterable[Node], step: Callable[[Node], None]) -> None:
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        for _ in pool.map(step, nodes):
            continue
