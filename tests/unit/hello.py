"""Configurations with HELLO, and such as do not have a Home Agent that others have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from haha_exabgp.protocol.home import HomeAgentConfig


def says_hello(config: HomeAgentConfig) -> HomeAgentConfig:
    return replace(config, hello_interval=1.0, preference=int(config.name[-1]))


def without(name: str, *at: str) -> Callable[[HomeAgentConfig], HomeAgentConfig]:
    """The configuration at some Home Agents does not have another one."""

    def adapted(config: HomeAgentConfig) -> HomeAgentConfig:
        known = tuple(one for one in config.peers if one.name != name or config.name not in at)
        return replace(says_hello(config), peers=known)

    return adapted
