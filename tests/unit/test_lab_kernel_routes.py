"""What the lab reads out of iproute2's routes."""

from __future__ import annotations

from haha_exabgp.lab.kernel_routes import read_routes, tunnel_exit

RECORDED = """[
{"type":"unreachable","dst":"2001:db8::/32","dev":"lo","metric":5,"flags":[],"pref":"medium"},
{"dst":"2001:db8::/64","encap":"seg6","mode":"encap.red","segs":["3fff::2"],"dev":"haha0","protocol":"104",
 "metric":100,"flags":[],"pref":"medium"},
{"dst":"2001:db8:1::/64","encap":"ip6","id":0,"src":"3fff::1","dst":"3fff::2","hoplimit":64,"tc":0,"dev":"haha0",
 "metric":1024,"flags":[],"pref":"medium"}]"""
"""iproute2 6.1; the one by ip6tnl has "dst" twice."""


def test_tunnel_exit_is_found_whatever_makes_the_tunnel() -> None:
    routes = read_routes(RECORDED)
    assert [(route["dst"], tunnel_exit(route)) for route in routes] == [
        ("2001:db8::/32", None),
        ("2001:db8::/64", "3fff::2"),
        ("2001:db8:1::/64", "3fff::2"),
    ]


def test_no_answer_is_no_route() -> None:
    assert read_routes("") == []
