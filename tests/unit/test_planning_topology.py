"""What a topology file may say, and what is said about mistakes in it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from haha_exabgp.config.errors import ConfigError
from haha_exabgp.sim.planning.city_pairs import city_pairs
from haha_exabgp.sim.planning.schema import Group, HandOver, Latency, Role, Site, Topology
from haha_exabgp.sim.planning.topology import load_topology
from tests.unit.planning_world import SHIPPED, THREE_SITES, loaded

LINES = THREE_SITES.splitlines()


def findings(directory: Path, text: str) -> list[str]:
    """What is said of a topology, without the name of the file."""
    with pytest.raises(ConfigError) as caught:
        loaded(directory, text)
    return [str(one).removeprefix(f"{directory}/topology.yaml:") for one in caught.value.findings]


def with_line(number: int, *lines: str) -> str:
    """The three-site topology with other text in place of a line."""
    return "\n".join([*LINES[: number - 1], *lines, *LINES[number:]]) + "\n"


def test_the_shipped_topology_is_good() -> None:
    topology = load_topology(SHIPPED).topology
    assert [site.role for site in topology.sites.values()].count(Role.SATELLITE) == 3
    assert set(topology.mobiles) == {"aircraft", "ships", "trains"}


def test_the_shipped_topology_describes_every_key() -> None:
    """Each key stands in it, some as a comment."""
    text = SHIPPED.read_text()
    for model in (Topology, Site, Group, Latency, HandOver):
        for name in model.model_fields:
            assert f"{name}:" in text, name


def test_defaults_are_those_that_its_comments_tell() -> None:
    """A topology of the keys that must be given has the rest as the comments say."""
    group = Group(speed="880")
    assert (group.share, group.lifetime, group.prefixes, group.cell, group.correspondents) == (
        1,
        600,
        1,
        None,
        3,
    )
    assert (group.min_distance, group.max_distance, group.home) == (0, 20_100, "by-share")
    assert Latency() == Latency(path_factor=1.4, last_mile=5)
    assert HandOver() == HandOver(movement_detection=50, optimistic=True, processing=1)
    assert len(city_pairs(group)) == 84 * 83 / 2


def test_cities_of_a_group_are_paired_within_its_distances() -> None:
    trains = Group(speed="160", cities=["Paris", "London", "Rome", "Tokyo"], max_distance="1600")
    assert city_pairs(trains) == [("Paris", "London"), ("Paris", "Rome"), ("London", "Rome")]


@pytest.mark.parametrize(
    ("number", "line", "told"),
    [
        (
            2,
            "  london: {city: Londom}",
            '2: sites.london.city: "Londom" is no city known here; did you mean "London"? latitude'
            " and longitude do as well",
        ),
        (
            2,
            "  london: {latitude: 51.5}",
            "2: sites.london: does not say where the site is; give city, or latitude and longitude",
        ),
        (
            2,
            "  london: {city: London, latitude: 51.5}",
            "2: sites.london.latitude: the city says already where the site is; remove the one or the other",
        ),
        (
            2,
            "  london: {latitude: 151.5, longitude: 0}",
            '2: sites.london.latitude: "151.5" is out of range; write a number from -90 to 90',
        ),
        (
            2,
            "  london: {latitude: north, longitude: 0}",
            '2: sites.london.latitude: "north" is not a number; write a number from -90 to 90',
        ),
        (
            2,
            "  london: {city: London, rolle: primary}",
            '2: sites.london.rolle: unknown key; did you mean "role"? the keys allowed here are city,'
            " latitude, longitude, role, parent, share",
        ),
        (
            2,
            "  london: {city: London, parent: tokyo}",
            "2: sites.london.parent: a primary site has no parent; remove it, or write role: satellite",
        ),
        (
            5,
            "  singapore: {city: Singapore, role: satellite}",
            "5: sites.singapore.parent: a satellite needs a parent; write one of london, tokyo, sydney",
        ),
        (
            5,
            "  singapore: {city: Singapore, role: satellite, parent: sydney, share: 1}",
            "5: sites.singapore.share: a satellite owns no partition; remove it, or write role: primary",
        ),
        (
            5,
            "  singapore: {city: Singapore, role: satellite, parent: singapore}",
            "5: sites.singapore.parent: singapore is no primary site; write one of london, tokyo, sydney",
        ),
        (
            5,
            "  singapore: {city: Singapore, role: secondary}",
            '5: sites.singapore.role: "secondary" is not one of the words allowed here (primary or'
            " satellite); write primary or satellite",
        ),
        (
            7,
            "  aircraft: {speed: 0}",
            "7: mobiles.aircraft.speed: 0 is out of range; write a number from 1 to 30000",
        ),
        (
            7,
            "  aircraft: {}",
            "7: mobiles.aircraft.speed: is missing; write a number from 1 to 30000",
        ),
        (
            7,
            "  aircraft: {speed: 900, lifetime: 601}",
            "7: mobiles.aircraft.lifetime: 601 is not a multiple of 4; write 600",
        ),
        (
            7,
            "  aircraft: {speed: 900, share: 0}",
            "6: mobiles: every share is 0; write a share above 0",
        ),
        (
            7,
            "  aircraft: {speed: 900, cities: [Paris, Pariss]}",
            '7: mobiles.aircraft.cities[1]: "Pariss" is no city known here; did you mean "Paris"?',
        ),
        (
            7,
            "  aircraft: {speed: 900, cities: [Paris, London], min_distance: 500}",
            "7: mobiles.aircraft: no two cities are 500 to 20100 km apart; change min_distance or"
            " max_distance",
        ),
        (
            7,
            "  aircraft: {speed: 900, routes: [{start: Paris, end: Paris}]}",
            "7: mobiles.aircraft.routes[0]: leads nowhere; write two different cities",
        ),
        (
            7,
            "  aircraft: {speed: 900, routes: [{start: Paris}]}",
            "7: mobiles.aircraft.routes[0].end: is missing; write text, in quotes if it looks like a number",
        ),
        (
            8,
            "basic_nemo: paris",
            "8: basic_nemo: there is no site paris; write one of london, tokyo, sydney, singapore",
        ),
        (
            8,
            "correspondents: {Nowhere: 1}",
            '8: correspondents.Nowhere: "Nowhere" is no city known here; the cities are in the file'
            " cities.csv",
        ),
        (8, "correspondents: {Paris: 0}", "8: correspondents: every weight is 0; write a weight above 0"),
        (
            8,
            "hand_over: {optimistic: yes}",
            '8: hand_over.optimistic: "yes" is not true or false; write true or false, without quotes',
        ),
    ],
)
def test_a_mistake_is_told_with_its_line_and_what_would_be_right(
    tmp_path: Path, number: int, line: str, told: str
) -> None:
    assert told in findings(tmp_path, with_line(number, line))


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    text = with_line(2, "  london: {city: Londom}") + "correspondents: {Nowhere: 1}\n"
    assert [one.partition(":")[0] for one in findings(tmp_path, text)] == ["2", "9"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "1: the file is empty; begin with examples/world-topology.yaml as a pattern"),
        (
            "- a\n",
            "1: a list stands where the keys of the file should; write the keys sites and mobiles at the"
            " left margin",
        ),
        (
            "sites:\n  a: b: c\n",
            '2: a ":" where none can stand; indent the keys of one mapping equally; put text'
            ' that ends in ":" or contains ": " in quotes',
        ),
    ],
)
def test_what_is_no_topology_at_all(tmp_path: Path, text: str, told: str) -> None:
    assert findings(tmp_path, text) == [told]


def test_no_site_is_primary(tmp_path: Path) -> None:
    text = "sites:\n  a: {city: Paris, role: satellite, parent: a}\nmobiles:\n  m: {speed: 9}\n"
    assert "1: sites: no site is primary; write role: primary for one of them" in findings(tmp_path, text)


@pytest.mark.parametrize(
    ("matrix", "told"),
    [
        (
            "",
            "1: the first line does not name the columns; write an empty cell, then names of sites and"
            " cities",
        ),
        (
            "london,tokyo\n",
            "1: the first line does not name the columns; write an empty cell, then names of sites"
            " and cities",
        ),
        (",london\ntokio,7\n", '2: "tokio" is neither a site nor a city known here; did you mean "tokyo"?'),
        (",london,london\ntokyo,7,8\n", "1: london: is given twice; remove one of the two"),
        (",london\ntokyo,7\n\ntokyo,8\n", "4: tokyo: is given twice; remove one of the two"),
        (
            ",london\ntokyo,7 ms\n",
            '2: tokyo to london: "7 ms" is no round trip; write milliseconds from 0 to 10000, or nothing',
        ),
        (
            ",london\ntokyo,nan\n",
            '2: tokyo to london: "nan" is no round trip; write milliseconds from 0 to 10000, or nothing',
        ),
        (
            ",london\nlondon,3\n",
            '2: london to london: "3" is no round trip; leave it empty: a place is no way from itself',
        ),
        (",london\ntokyo,7,8\n", "2: tokyo: 2 values stand under 1 names; remove what is too much"),
        (',london\n"tokyo,7\n', "2: not CSV: unexpected end of data; write one line each"),
    ],
)
def test_a_mistake_in_a_matrix(tmp_path: Path, matrix: str, told: str) -> None:
    (tmp_path / "rtt.csv").write_text(matrix)
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, with_line(8, "latency: {matrix: rtt.csv}"))
    assert [str(one).removeprefix(f"{tmp_path}/rtt.csv:") for one in caught.value.findings] == [told]


def test_a_matrix_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"rtt.csv:1: cannot be read: .*; name a file of round trips"):
        loaded(tmp_path, with_line(8, "latency: {matrix: rtt.csv}"))


def test_a_matrix_may_be_of_a_spreadsheet(tmp_path: Path) -> None:
    """With a byte order mark, blanks, empty cells and lines; one direction is enough, two may differ."""
    text = "\ufeff, london , Tokyo,tokyo\r\n\r\nlondon,,200.5,100\r\ntokyo,90,0,\r\n"
    (tmp_path / "rtt.csv").write_text(text, newline="")
    found = loaded(tmp_path, with_line(8, "latency: {matrix: rtt.csv}")).round_trips
    assert found == {
        ("london", "Tokyo"): 200.5,
        ("Tokyo", "london"): 200.5,
        ("london", "tokyo"): 100,
        ("tokyo", "london"): 90,
        ("tokyo", "Tokyo"): 0,
        ("Tokyo", "tokyo"): 0,
    }


def test_the_shipped_topology_is_plain_yaml() -> None:
    """Other readers of YAML see the same sites."""
    assert list(yaml.safe_load(SHIPPED.read_text())["sites"]) == list(load_topology(SHIPPED).topology.sites)
