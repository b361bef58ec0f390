"""How a packet filter is written down for `nft`: one table of our own, `ip6 haha`, chains and sets. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from ..wire.address import Address, Prefix
from .guard_sets import in_whole_octets, set_length

TABLE: Final = "haha"
HEADER_BITS: Final = 320
"""Of an IPv6 header."""


def without_table(text: str) -> str:
    """The same text, with all of a table that is there taken away first."""
    return f"table ip6 {TABLE} {{\n}}\ndelete table ip6 {TABLE}\n{text}"


def renewed_table(counters: Sequence[str], emptied: Iterable[str], *parts: str) -> str:
    """In a table that is there its rules change, and its sets and counters stay with what they hold, but
    sets that are to be `emptied`: one transaction."""
    declared = "".join(declare_set(name, "type ipv6_addr", ()) for name in emptied)
    flushed = "".join(f"flush set ip6 {TABLE} {name}\n" for name in emptied)
    start = f"table ip6 {TABLE} {{\n{declared}}}\nflush table ip6 {TABLE}\n{flushed}"
    return start + _contents(counters, *parts)


def new_table(counters: Sequence[str], *parts: str) -> str:
    """In place of one that is there: one transaction."""
    return without_table(_contents(counters, *parts))


def _contents(counters: Sequence[str], *parts: str) -> str:
    declared = "".join(f"\tcounter {name} {{\n\t}}\n" for name in counters)
    return f"table ip6 {TABLE} {{\n{declared}{''.join(parts)}}}\n"


def chain(name: str, *lines: str) -> str:
    """A chain with these rules; of a hook the first line says so."""
    return f"\tchain {name} {{\n" + "".join(f"\t\t{line}\n" for line in lines) + "\t}\n"


def declare_set(name: str, key: str, elements: Iterable[str], *settings: str) -> str:
    """A set whose `key` is a type or typeof."""
    lines = [key, *settings]
    if listed := ", ".join(sorted(elements)):
        lines.append(f"elements = {{ {listed} }}")
    return f"\tset {name} {{\n" + "".join(f"\t\t{line}\n" for line in lines) + "\t}\n"


def accept_inner_destination(prefix: Prefix) -> str:
    """What goes to the prefix passes."""
    return f"{inner_destination(prefix)} accept"


def inner_destination(prefix: Prefix, at: int = 0) -> str:
    """The destination in the header `at` so many bits behind the outer headers is in the prefix."""
    numbers = ", ".join(map(_number, in_whole_octets(prefix)))
    return f"@th,{at + 192},{set_length(prefix.length)} {{ {numbers} }}"


def hosts(addresses: Iterable[Address]) -> str:
    """Elements of raw payload."""
    return ", ".join(_number(Prefix.host(one)) for one in sorted(addresses))


def listed(values: Iterable[Address | Prefix]) -> str:
    """An anonymous set of addresses and prefixes."""
    return f"{{ {', '.join(map(str, sorted(values)))} }}"


def _number(prefix: Prefix) -> str:
    return f"0x{prefix.address[: prefix.length // 8].hex()}"
