"""A whole Home on the real thing: ExaBGP, FRR, the kernel, packets; each test goes on where the one before
has left the mobile router, and says so by asking for it."""

from __future__ import annotations

from ipaddress import IPv6Address
from pathlib import Path

import pytest

pytestmark = pytest.mark.lab

CONFIGS = Path(__file__).parents[2] / "configs"
HOME = "2001:db8::/32"
MNP = "2001:db8:1:100::/64"
LFN = IPv6Address("2001:db8:1:100::10")
SECONDS = 20.0
