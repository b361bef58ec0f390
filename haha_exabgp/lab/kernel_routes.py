"""Routes as `ip -6 -json route show` writes them."""

from __future__ import annotations

import json
from typing import Any

Route = dict[str, Any]


def read_routes(text: str) -> list[Route]:
    """The routes of iproute2's answer, which is empty where there is none.

    For a tunnel by ip6tnl it writes two members "dst" into one object: the second, the tunnel's exit, is
    called "encap_dst" here.
    """
    routes: list[Route] = json.loads(text or "[]", object_pairs_hook=_route)
    return routes


def tunnel_exit(route: Route) -> str | None:
    """Where a route tunnels to, by either datapath; None where it does not."""
    match route.get("encap"):
        case "ip6":
            return str(route["encap_dst"])
        case "seg6":
            (segment,) = route["segs"]
            return str(segment)
        case _:
            return None


def _route(pairs: list[tuple[str, Any]]) -> Route:
    route: Route = {}
    for name, value in pairs:
        route[f"encap_{name}" if name in route else name] = value
    return route
