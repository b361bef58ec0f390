"""The MN-AAA authenticator against one made with `hashlib` alone, and any change of what it covers."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haha_exabgp.wire.address import Address
from haha_exabgp.wire.authentication import find_authentication, sign, verify, verify_aaa
from haha_exabgp.wire.errors import MalformedPacket
from haha_exabgp.wire.messages import BindingUpdate
from haha_exabgp.wire.options import AuthenticationSubtype
from tests.property.wire_strategies import addresses, lifetimes, u16, unsigned_lists, update_flags

pytestmark = pytest.mark.requirement("M-AUTH-AAA")

keys = st.binary(min_size=16, max_size=16)
updates = st.builds(BindingUpdate, u16, update_flags, lifetimes, unsigned_lists)


def expected(key: bytes, covered: bytes) -> bytes:
    """RFC 2104 in the words of its section 2."""
    padded = key.ljust(64, b"\0")
    inner = hashlib.sha1(bytes(octet ^ 0x36 for octet in padded) + hashlib.sha1(covered).digest()).digest()
    return hashlib.sha1(bytes(octet ^ 0x5C for octet in padded) + inner).digest()


@given(updates, st.tuples(addresses, addresses, addresses), st.tuples(keys, keys), st.data())
def test_it_is_right_until_something_is_changed(
    update: BindingUpdate,
    ends: tuple[Address, Address, Address],
    both: tuple[bytes, bytes],
    data: st.DataObject,
) -> None:
    (home, care_of, home_agent), (key, aaa_key) = ends, both
    header = sign(
        update,
        home,
        home_agent,
        key=key,
        spi=4096,
        care_of_address=care_of,
        home_address=home,
        aaa_key=aaa_key,
    )
    found = find_authentication(header, AuthenticationSubtype.MN_AAA)
    first = find_authentication(header)
    assert found is not None and first is not None
    covered = header[:4] + bytes(2) + header[6 : found.offset + 7]
    assert found.option.data == expected(aaa_key, care_of + home + covered)
    assert (found.offset % 4, len(header) % 8) == (1, 0)
    assert verify_aaa(header, found, aaa_key, care_of, home)
    assert verify(header, first, key, care_of, home)
    place = data.draw(st.integers(0, found.offset + 26).filter(lambda at: at not in (4, 5)))
    changed = bytearray(header)
    changed[place] ^= data.draw(st.integers(1, 255))
    try:
        again = find_authentication(bytes(changed), AuthenticationSubtype.MN_AAA)
    except MalformedPacket:
        return
    assert again is None or not verify_aaa(bytes(changed), again, aaa_key, care_of, home)
