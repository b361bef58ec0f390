"""Which datapath a kernel gets, and that asking leaves nothing behind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from haha_exabgp.kernel.choose_datapath import AUTO, IP6TNL, SEG6, choose_datapath
from haha_exabgp.kernel.ip6tnl import Ip6tnlDatapath
from haha_exabgp.kernel.netlink import NetlinkSocket
from haha_exabgp.kernel.seg6 import Seg6Datapath
from tests.lab.kernel_world import Namespace

pytestmark = pytest.mark.lab


@pytest.fixture
def host() -> Iterator[Namespace]:
    made = Namespace("tDo-host")
    yield made
    made.delete()


@pytest.fixture
def has_ip6tnl(host: Namespace) -> bool:
    """What iproute2 finds, in a namespace that is thrown away."""
    try:
        host.ip("link add probe type ip6tnl external")
    except AssertionError:
        return False
    host.ip("link del probe")
    return True


def test_auto_is_ip6tnl_where_the_kernel_has_it(host: Namespace, has_ip6tnl: bool) -> None:
    shown = ("link show", "-6 route show table all", "-6 rule")
    before = [*map(host.ip, shown)]
    with host.entered(), NetlinkSocket() as netlink:
        datapath = choose_datapath(AUTO, netlink)
    datapath.close()
    assert isinstance(datapath, Ip6tnlDatapath if has_ip6tnl else Seg6Datapath)
    assert [*map(host.ip, shown)] == before


def test_who_asks_for_what_the_kernel_does_not_have_is_told(host: Namespace, has_ip6tnl: bool) -> None:
    if has_ip6tnl:
        pytest.skip("this kernel has ip6_tunnel")
    with host.entered(), NetlinkSocket() as netlink:
        with pytest.raises(
            OSError, match="datapath ip6tnl: the kernel has no ip6_tunnel; write auto or seg6"
        ):
            choose_datapath(IP6TNL, netlink)
        assert isinstance(choose_datapath(SEG6, netlink), Seg6Datapath)
