"""Two sites that share a partition, and ask each other or tell each other (`locate`): real daemons, FRR and
kernels. A mobile router binds at one and moves to the other; both are its primary in turn."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from haha_exabgp.lab.eventually import eventually
from haha_exabgp.lab.lab import Lab
from tests.lab.home_world import (
    LFN,
    MNP,
    OUTER,
    SECONDS,
    bind_at,
    counter,
    home_lab,
    ping,
    show,
    tunnels_to,
    write_home,
)

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]


@pytest.fixture(scope="module", params=["reactive", "proactive"])
def method(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, method: str) -> Iterator[Lab]:
    directory = tmp_path_factory.mktemp(method)
    path = write_home(
        directory,
        method,
        lambda text: text.replace("locate: {site2: reactive}", f"locate: {{site2: {method}}}"),
        config="shared-partition.yaml",
    )
    with home_lab(path) as lab:
        yield lab


def kind(lab: Lab, site: int) -> str:
    """Of the binding of mr1."""
    return next((row["kind"] for row in show(lab, f"ha{site}", "bindings")), "")


def told(lab: Lab, site: int) -> dict:
    return next(row for row in show(lab, f"ha{site}", "mobile-router") if row["mobile_router"] == "mr1")


@pytest.mark.requirement("Q-1", "Q-2", "Q-3", "Q-5", "Q-6")
def test_whoever_gets_the_newer_binding_update_is_primary_and_all_packets_follow(
    lab: Lab, method: str
) -> None:
    row = bind_at(lab, 1)
    asks = method == "reactive"
    assert counter(lab, "ha1", "owner_answer_unbound") == int(asks)
    assert (kind(lab, 1), kind(lab, 2)) == ("direct", "" if asks else "replica")
    assert {one["home_agent"]: one["locate"] for one in show(lab, "ha1", "sites")} == {
        "ha1": "",
        "ha2": method,
    }
    assert told(lab, 1)["leak"] == ("leaked" if asks else "")
    for here, other in ((2, 1), (1, 2)):
        care_of_address = row["care_of_address"]
        row = bind_at(lab, here)
        assert row["care_of_address"] != care_of_address
        # The former primary has given its binding up, and sends what still comes to it to the new one.
        eventually(lambda h=here: kind(lab, h) == "direct", SECONDS, f"ha{here} is primary")
        eventually(lambda o=other: kind(lab, o) == "replica", SECONDS, f"ha{other} has yielded")
        eventually(
            lambda h=here, o=other: set(tunnels_to(lab, f"ha{o}", MNP)) == {OUTER[h]},
            SECONDS,
            f"ha{other} sends to ha{here}",
        )
        assert tunnels_to(lab, f"ha{here}", MNP)[0] == row["care_of_address"]
        assert f"ha{here}" in told(lab, other)["through"]
        assert counter(lab, f"ha{here}", "owner_answer_bound") == int(asks)
        # Both ways: from either site's Internet, and from the mobile network to either.
        for correspondent in ("cn1", "cn2"):
            assert ping(lab, correspondent, LFN)
    assert counter(lab, "ha1", "owner_answer_missing") == counter(lab, "ha2", "owner_answer_missing") == 0
