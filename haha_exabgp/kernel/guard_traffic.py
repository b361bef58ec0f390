"""The rules that notice traffic, for routes on demand."""

from __future__ import annotations

from typing import Final

from .guard_config import HomeAgentGuardConfig
from .guard_text import chain, declare_set, inner_destination
from .traffic_log import LOG_GROUP, SNAP_LENGTH

NOTICE_AGAIN: Final = 5
"""Seconds until traffic to a destination is logged again."""
NOTICES: Final = 100
"""Logged packets a second, to all destinations: anybody may send to ever new ones."""


def noticing(config: HomeAgentGuardConfig) -> tuple[str, ...]:
    """Whoever gets many packets by the tunnel to another Home Agent, perhaps there is a shorter way. Of the
    outer packet, which is here on its way out with either datapath: one in `NOTICE_AGAIN` seconds for a
    destination, and no more than `NOTICES` a second in all."""
    over = config.notice_over
    return (
        declare_set("noticed", "typeof @th,192,128", (), *_forgetful(NOTICE_AGAIN)),
        declare_set("noticed_rates", "typeof @th,192,64", (), *_forgetful(10)),
        chain(
            "postrouting",
            "type filter hook postrouting priority filter; policy accept;",
            "meta l4proto 41 ip6 saddr @tunnel_ends ip6 daddr @peers jump noticing",
        ),
        chain("noticing", *(f"{inner_destination(prefix)} goto noticeable" for prefix in config.noticed)),
        chain(
            "noticeable",
            "@th,192,128 @noticed return",
            f"update @noticed_rates {{ @th,192,64 limit rate over {over}/second burst {over} packets }}"
            " goto notice",
        ),
        chain(
            "notice",
            f"limit rate over {NOTICES}/second burst {NOTICES} packets return",
            "add @noticed { @th,192,128 }",
            f"log group {LOG_GROUP} snaplen {SNAP_LENGTH} queue-threshold 1",
        ),
    )


def _forgetful(seconds: int) -> tuple[str, ...]:
    return ("flags dynamic,timeout", f"timeout {seconds}s", "size 65536")
