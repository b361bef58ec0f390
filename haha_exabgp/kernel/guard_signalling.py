"""The rules about mobility signalling: how much of it is let in, and what a kernel without Mobile IPv6 is not
to say about it."""

from __future__ import annotations

from .guard_config import HomeAgentGuardConfig
from .guard_text import chain, declare_set


def signalling_chains(config: HomeAgentGuardConfig) -> tuple[str, ...]:
    """Mobility messages from anybody but the other Home Agents, and who counts as known."""
    return (
        # Who has got an acknowledgement keeps a way in when strangers take all of theirs.
        chain("signalling", "ip6 saddr @acknowledged goto acknowledged", "goto strangers"),
        chain(
            "acknowledged",
            f"update @acknowledged_rates {rate_over(config.strangers_each)}"
            " counter name acknowledged_rate drop",
        ),
        chain(
            "output_mobility",
            "type filter hook output priority filter; policy accept;",
            "meta l4proto 135 jump acknowledging",
        ),
        chain(
            "acknowledging",
            # A Binding Acknowledgement, its status below 128.
            "@th,16,8 6 @th,48,8 < 128 update @acknowledged { ip6 daddr }",
        ),
    )


def strangers_chain(each: int, total: int) -> str:
    """At most so many packets a second, from one source and from all. When there are more sources than the
    set holds, the rate of all still counts."""
    return chain(
        "strangers",
        f"update @strangers {rate_over(each)} counter name stranger_rate drop",
        f"limit rate over {total}/second burst {total} packets counter name strangers_total_rate drop",
    )


def rates(name: str, size: int) -> str:
    """A set that knows how much has come from whom."""
    return declare_set(name, "type ipv6_addr", (), "flags dynamic,timeout", "timeout 10s", f"size {size}")


def rate_over(each: int) -> str:
    return f"{{ ip6 saddr limit rate over {each}/second burst {2 * each} packets }}"


def silence() -> tuple[str, ...]:
    """A kernel without Mobile IPv6 answers mobility packets by Parameter Problem. In that message, bits from
    `@th`: code 8, pointer 32, the quoted packet's next header 112, the one after that 384."""
    return (
        chain(
            "output",
            "type filter hook output priority filter; policy accept;",
            "icmpv6 type parameter-problem jump complaint",
        ),
        chain(
            "complaint",
            # Code 0 that does not point at a routing type is the program's own (RFC 6275 s.9.2).
            "@th,8,8 0 @th,32,32 != 42 return",
            "@th,112,8 135 counter name parameter_problem drop",
            "@th,112,8 { 43, 60 } @th,384,8 { 58, 135 } counter name parameter_problem drop",
        ),
    )
