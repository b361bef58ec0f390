"""A binding as octets, as the store keeps it."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from ..protocol.binding import Binding, BindingKind, Order
from ..protocol.time import Now
from ..wire.address import Address, Prefix

_RECORD = struct.Struct("!H16s16s16sBQHIdddB")
"""Octets of the record, home address, care-of address, peer (zero: none), flags, low 64 bits of the
timestamp, sequence, mobility sequence, registered, expires, remaining, number of prefixes. Times are wall
clock, seconds."""
_PREFIX = struct.Struct("!16sB")
_HOME_ADDRESS = slice(2, 18)
_KINDS = {
    0: BindingKind.DIRECT,
    1: BindingKind.PROXIED,
    2: BindingKind.PROXY,
    3: BindingKind.REPLICA,
    16: BindingKind.SECONDARY,
}
_KIND_BITS = {kind: bits for bits, kind in _KINDS.items()}
_KIND_MASK = 16 | 3
_MOBILE_ROUTER = 4
_SECOND_ERA = 8
"""Of the timestamp: with its era resolved it has 65 bits from February 2036 on (see `wire.timestamp`)."""
_VOUCHED = 32
_TIMESTAMP_MASK = (1 << 64) - 1
_NO_PEER = bytes(16)


def push_binding(binding: Binding, now: Now) -> bytes:
    """The record of a binding. Raises struct.error when a field is out of range."""
    (
        home_address,
        care_of_address,
        prefixes,
        mobile_router,
        kind,
        order,
        sequence,
        peer,
        since,
        expires,
        vouched,
    ) = binding
    timestamp, number = order
    flags = _KIND_BITS[kind]
    if mobile_router:
        flags |= _MOBILE_ROUTER
    if timestamp > _TIMESTAMP_MASK:
        flags |= _SECOND_ERA
    if vouched:
        flags |= _VOUCHED
    remaining = expires - now.monotonic
    return _RECORD.pack(
        _RECORD.size + _PREFIX.size * len(prefixes),
        home_address,
        care_of_address,
        peer or _NO_PEER,
        flags,
        timestamp & _TIMESTAMP_MASK,
        number,
        sequence,
        since,
        now.wall + remaining if expires else 0.0,
        remaining if expires and remaining > 0.0 else 0.0,
        len(prefixes),
    ) + b"".join([_PREFIX.pack(*prefix) for prefix in prefixes])


def pull_binding(record: bytes, now: Now) -> Binding:
    """The binding of a record; one whose lifetime has passed meanwhile comes as ended.

    Raises ValueError or struct.error for what `push_binding` never makes.
    """
    length, home, care_of, peer, flags, timestamp, number, sequence, since, expires, remaining, count = (
        _RECORD.unpack_from(record)
    )
    if length != len(record) or length != _RECORD.size + _PREFIX.size * count:
        raise ValueError(f"a record of {len(record)} octets with {count} prefixes")
    kind = _KINDS.get(flags & _KIND_MASK)
    if kind is None:
        raise ValueError(f"a record with flags {flags:#x}")
    prefixes = tuple(
        Prefix(Address(address), bits) for address, bits in _PREFIX.iter_unpack(record[_RECORD.size :])
    )
    # A clock that was set back meanwhile must not make a binding last longer.
    left = min(expires - now.wall, remaining)
    return Binding(
        home_address=Address(home),
        care_of_address=Address(care_of),
        prefixes=prefixes,
        mobile_router=bool(flags & _MOBILE_ROUTER),
        kind=kind,
        order=Order(timestamp | (_TIMESTAMP_MASK + 1 if flags & _SECOND_ERA else 0), number),
        mobility_sequence=sequence,
        peer=Address(peer) if peer != _NO_PEER else None,
        registered=since,
        expires=now.monotonic + left if left > 0 else 0.0,
        is_vouched=bool(flags & _VOUCHED),
    )


def split_records(records: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(Home address, record) of each of the records that were joined. Raises ValueError."""
    offset = 0
    while offset < len(records):
        end = offset + int.from_bytes(records[offset : offset + 2], "big")
        if end < offset + _RECORD.size or end > len(records):
            raise ValueError(f"a record that ends at octet {end} of {len(records)}")
        record = records[offset:end]
        yield record[_HOME_ADDRESS], record
        offset = end
