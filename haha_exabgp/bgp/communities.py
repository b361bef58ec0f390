"""Announcements <-> BGP path attributes: the marks that say what a route stands for (RFC 8092).

| large community | meaning |
|---|---|
| `<home-asn>:1:<kind>` | `RouteKind` |
| `<home-asn>:2:<sequence>` | mobility sequence, left out when 0 |

LOCAL_PREF is the sequence as well, so that reflectors and plain routers choose as we do; 100, everybody's
default, where there is none, and 0 for a Home that is left to others (as RFC 8326 s.4 has it).
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from ..protocol.routes import Announcement, LearnedRoute, RouteKind
from ..wire.address import Address, Prefix
from .commands import DEFAULT_LOCAL_PREFERENCE, LargeCommunity, PathAttributes

KIND_FUNCTION = 1
SEQUENCE_FUNCTION = 2
_KINDS = {kind.value: kind for kind in RouteKind}


class MarkRefusal(StrEnum):
    """Why a received route means nothing to us; the label of its counter."""

    NO_KIND = "no_kind"
    FOREIGN_ASN = "foreign_asn"
    UNKNOWN_KIND = "unknown_kind"
    SEVERAL_KINDS = "several_kinds"
    SEVERAL_SEQUENCES = "several_sequences"


def path_attributes(announcement: Announcement, asn: int) -> PathAttributes:
    """What an announcement is sent with by the Home whose AS number is `asn`."""
    communities: list[LargeCommunity] = [(asn, KIND_FUNCTION, announcement.kind.value)]
    if announcement.sequence:
        communities.append((asn, SEQUENCE_FUNCTION, announcement.sequence))
    preference = announcement.sequence or DEFAULT_LOCAL_PREFERENCE
    if announcement.kind is RouteKind.HOME_LEAVING:
        preference = 0
    return PathAttributes(announcement.next_hop, preference, tuple(communities))


def learned_route(
    peer: Address, prefix: Prefix, next_hop: Address, communities: Iterable[LargeCommunity], asn: int
) -> LearnedRoute | MarkRefusal:
    """What a received route stands for in the Home whose AS number is `asn`, or why it stands for nothing."""
    marks = set(communities)
    kinds = _values(marks, asn, KIND_FUNCTION)
    if not kinds:
        foreign = any(function == KIND_FUNCTION for _, function, _ in marks)
        return MarkRefusal.FOREIGN_ASN if foreign else MarkRefusal.NO_KIND
    if len(kinds) > 1:
        return MarkRefusal.SEVERAL_KINDS
    kind = _KINDS.get(kinds[0])
    if kind is None:
        return MarkRefusal.UNKNOWN_KIND
    sequences = _values(marks, asn, SEQUENCE_FUNCTION)
    if len(sequences) > 1:
        return MarkRefusal.SEVERAL_SEQUENCES
    return LearnedRoute(peer, kind, prefix, next_hop, sequences[0] if sequences else 0)


def _values(marks: Iterable[LargeCommunity], asn: int, wanted_function: int) -> list[int]:
    return [
        value
        for administrator, function, value in marks
        if (administrator, function) == (asn, wanted_function)
    ]
