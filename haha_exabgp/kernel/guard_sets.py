"""The sets of the packet filter that hold what is bound, one for each prefix length, and what stands in them.

A payload that is compared with a set has whole octets; so prefixes of other lengths stand there as several.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from ..wire.address import Address, Prefix

Permit = tuple[Address, Prefix]
"""An outer source and the inner sources that it may send from."""

_PERMITS = "permit"
_WATCHED = "watched"
_TO_WHOLE_WORDS = (b"", bytes(3), bytes(2), bytes(1))


def permit_elements(permits: Iterable[Permit]) -> dict[str, list[bytes]]:
    """The elements that permits are, by set: the outer source and the octets of the inner prefix."""
    found: defaultdict[int, list[bytes]] = defaultdict(list)
    for outer, inner in permits:
        if inner.length % 8 == 0:
            found[inner.length].append(outer + _words(inner))
        else:
            for piece in in_whole_octets(inner):
                found[piece.length].append(outer + _words(piece))
    return {permit_set(length): elements for length, elements in found.items()}


def bound_elements(admitted: Iterable[Prefix]) -> dict[str, list[bytes]]:
    """The elements that admitted prefixes are, by set: the octets of the prefix."""
    return {bound_set(length): elements for length, elements in _by_length(admitted).items()}


def watched_elements(watched: Iterable[Prefix]) -> dict[str, list[bytes]]:
    """The same of prefixes whose packets are counted."""
    return {watched_set(length): elements for length, elements in _by_length(watched).items()}


def watched_piece(length: int, element: bytes) -> Prefix:
    """The prefix, or the piece of one, that an element of a set of this length stands for."""
    return Prefix.of(Address(element.ljust(16, b"\0")), length)


def _by_length(prefixes: Iterable[Prefix]) -> dict[int, list[bytes]]:
    found: defaultdict[int, list[bytes]] = defaultdict(list)
    for inner in prefixes:
        for piece in in_whole_octets(inner):
            found[piece.length].append(_words(piece))
    return found


def _words(prefix: Prefix) -> bytes:
    """What nftables compares: the prefix's own octets, filled up to whole words."""
    address, length = prefix
    if length == 128:
        return address
    octets = length >> 3
    return address[:octets] + _TO_WHOLE_WORDS[octets & 3]


def in_whole_octets(prefix: Prefix) -> Iterator[Prefix]:
    """The prefix as 1 to 128 prefixes whose length is a multiple of 8.

    A payload of other lengths is masked and shifted by the kernel in host order, a word at a time; in a set
    it never matches (measured, Linux 6.18 with nft 1.0.6).
    """
    length = set_length(prefix.length)
    first = int.from_bytes(prefix.address, "big")
    for number in range(1 << (length - prefix.length)):
        yield Prefix(Address((first | number << (128 - length)).to_bytes(16, "big")), length)


def set_length(length: int) -> int:
    """The length of the sets that prefixes of this length go into."""
    return -(-length // 8) * 8


def set_lengths(names: Iterable[str]) -> frozenset[int]:
    """The lengths that there are sets of permits for among sets of these names."""
    return _lengths(_PERMITS, names)


def watched_lengths(names: Iterable[str]) -> frozenset[int]:
    """The lengths that there are sets of counted prefixes for among sets of these names."""
    return _lengths(_WATCHED, names)


def _lengths(kind: str, names: Iterable[str]) -> frozenset[int]:
    return frozenset(int(name.removeprefix(kind)) for name in names if name.startswith(kind))


def permit_set(length: int) -> str:
    """Name of the set of permits with inner prefixes of this length."""
    return f"{_PERMITS}{length}"


def bound_set(length: int) -> str:
    """Name of the set of bound prefixes of this length."""
    return f"bound{length}"


def watched_set(length: int) -> str:
    """Name of the set of prefixes of this length whose packets from other Home Agents are counted."""
    return f"{_WATCHED}{length}"
