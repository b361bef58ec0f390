"""What must hold between the values of a configuration whose shape is right.

Each check is one rule, named for what must hold. Pairs that clash are told at the later one of the file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from ipaddress import IPv6Address, IPv6Network

from ..wire.address import Address
from .addresses import unfit
from .errors import Fault, KeyPath
from .key_checks import KEY_CHECKS
from .locate_checks import LOCATE_CHECKS
from .overlaps import PlacedPrefix, mobile_network_prefixes, overlaps
from .satellite_checks import SATELLITE_CHECKS
from .schema import HomeConfig

Check = Callable[[HomeConfig], Iterator[Fault]]

_LAB_NAME = re.compile(r"lo|to-.*|(?:inet|cn|access|lan)[0-9]+")
"""Names that the lab gives to nodes and interfaces by itself."""
_LAST_ASN = 4294967294
_IDENTIFIER_BITS = 64


def tunnels_between_sites_are_agreed_to_be_plain(config: HomeConfig) -> Iterator[Fault]:
    if not config.home.insecure_tunnel:
        yield Fault(
            ("home", "insecure_tunnel"),
            "the tunnels between sites are plain IPv6-in-IPv6, the only kind there is yet",
            "write insecure_tunnel: true if you accept that anyone on the path can read and forge packets",
        )


def enough_sites_can_be_reached(config: HomeConfig) -> Iterator[Fault]:
    others = len(list(config.partitions())) - 1
    wanted = config.home.min_sites_reached
    if wanted is not None and wanted > others:
        yield Fault(
            ("home", "min_sites_reached"),
            f"Home would never be announced: it waits for {wanted} other sites of {others}",
            f"write {others} or less",
        )


def names_differ(config: HomeConfig) -> Iterator[Fault]:
    """Sites, Home Agents and mobile routers all become names of namespaces, interfaces and units."""
    first: dict[str, KeyPath] = {}
    for name, key in _names(config):
        if _LAB_NAME.fullmatch(name):
            yield Fault(key, f'"{name}" is a name that the lab gives by itself', "choose another name")
        if name in first:
            made = "" if name == key[-1] else "the lab makes a node for it, and "
            yield Fault(
                key, f'{made}the name "{name}" is taken already', "choose another name", other=first[name]
            )
        first.setdefault(name, key)


def proxies_are_home_agents(config: HomeConfig) -> Iterator[Fault]:
    names = [name for _, _, name, _ in config.home_agents()]
    for name, router in config.mobile_routers.items():
        for index, proxy in enumerate(router.proxies or ()):
            if proxy not in names:
                yield Fault(
                    ("mobile_routers", name, "proxies", index),
                    f"there is no Home Agent {proxy}",
                    f"write one of {', '.join(names)}",
                )


def addresses_are_routable_unicast(config: HomeConfig) -> Iterator[Fault]:
    for key, address in _addresses(config):
        fault = unfit(Address(address.packed))
        if fault is not None:
            yield Fault(key, *fault)


def addresses_differ(config: HomeConfig) -> Iterator[Fault]:
    first: dict[IPv6Address, KeyPath] = {}
    for key, address in _addresses(config):
        if address in first:
            yield Fault(key, f"{address} is used already", "write another", other=first[address])
        first.setdefault(address, key)


def partitions_lie_inside_home(config: HomeConfig) -> Iterator[Fault]:
    home = config.home.prefix
    for name, _, partition in config.partitions():
        key = ("sites", name, "partition")
        if partition == home:
            yield Fault(key, f"{home} is all of Home", f"write a part of it, longer than /{home.prefixlen}")
        elif not partition.subnet_of(home):
            yield Fault(key, f"{partition} is not inside Home {home}", f"write a part of {home}")


def partitions_are_separate_or_shared(config: HomeConfig) -> Iterator[Fault]:
    partitions = [(("sites", name, "partition"), partition) for name, _, partition in config.partitions()]
    for (one, _), (two, partition) in overlaps(partitions):
        names = str(one[1]), str(two[1])
        if not all(config.sites[name].shared for name in names):
            yield Fault(
                two,
                f"{partition} overlaps the partition of {names[0]}",
                "write separate ones, or shared: true at both sites if they share it on purpose",
                other=one,
            )


def mesh_prefix_is_no_partition(config: HomeConfig) -> Iterator[Fault]:
    mesh = config.home.mesh_prefix
    for name, _, partition in config.partitions():
        if mesh.overlaps(partition):
            yield Fault(
                ("home", "mesh_prefix"),
                f"{mesh} overlaps the partition of {name}",
                "write a prefix that no site announces",
                other=("sites", name, "partition"),
            )


def haha_addresses_lie_in_the_mesh_prefix(config: HomeConfig) -> Iterator[Fault]:
    mesh = config.home.mesh_prefix
    for site_name, _, name, home_agent in config.home_agents():
        if home_agent.haha not in mesh:
            yield Fault(
                ("sites", site_name, "home_agents", name, "haha"),
                f"{home_agent.haha} is not inside the mesh prefix {mesh}",
                f"write an address of {mesh}",
                other=("home", "mesh_prefix"),
            )


def the_internet_is_outside_home(config: HomeConfig) -> Iterator[Fault]:
    """A tunnel end inside Home would be routed through the tunnel that it ends."""
    home = config.home.prefix
    for key, prefix in _internet(config):
        if prefix.overlaps(home):
            yield Fault(
                key,
                f"{prefix} overlaps Home {home}",
                "write a prefix outside Home",
                other=("home", "prefix"),
            )


def the_internet_is_not_numbered_twice(config: HomeConfig) -> Iterator[Fault]:
    mesh = (("home", "mesh_prefix"), config.home.mesh_prefix)
    for (one, _), (two, prefix) in overlaps([mesh, *_internet(config)]):
        yield Fault(
            two, f"{prefix} overlaps the {_noun(one)}", "write a prefix that overlaps no other", other=one
        )


def outer_addresses_come_from_the_provider(config: HomeConfig) -> Iterator[Fault]:
    for site_name, site, name, home_agent in config.home_agents():
        if home_agent.outer not in site.provider_prefix:
            yield Fault(
                ("sites", site_name, "home_agents", name, "outer"),
                f"{home_agent.outer} is not inside the site's provider prefix {site.provider_prefix}",
                f"write an address of {site.provider_prefix}",
                other=("sites", site_name, "provider_prefix"),
            )


def routers_share_a_link_with_home_agents(config: HomeConfig) -> Iterator[Fault]:
    for site_name, site, name, home_agent in config.home_agents():
        key = ("sites", site_name, "router", "address")
        link = IPv6Network((home_agent.outer, _IDENTIFIER_BITS), strict=False)
        if site.router.address not in site.provider_prefix:
            yield Fault(
                key,
                f"{site.router.address} is not inside the site's provider prefix {site.provider_prefix}",
                f"write an address of {site.provider_prefix}",
                other=("sites", site_name, "provider_prefix"),
            )
        elif site.router.address not in link:
            yield Fault(
                key,
                f"{site.router.address} is not on the link of {name}'s outer address",
                f"write an address of {link}",
                other=("sites", site_name, "home_agents", name, "outer"),
            )


def reflectors_share_a_link_with_the_router(config: HomeConfig) -> Iterator[Fault]:
    for site_name, name, reflector in config.reflectors():
        router = config.sites[site_name].router.address
        link = IPv6Network((router, _IDENTIFIER_BITS), strict=False)
        if reflector.address not in link:
            yield Fault(
                ("sites", site_name, "reflectors", name, "address"),
                f"{reflector.address} is not on the link of the site's router",
                f"write an address of {link}",
                other=("sites", site_name, "router", "address"),
            )


def home_addresses_lie_in_a_partition(config: HomeConfig) -> Iterator[Fault]:
    partitions = ", ".join(f"{partition} ({name})" for name, _, partition in config.partitions())
    for name, mobile_router in config.mobile_routers.items():
        address = mobile_router.home_address
        if _partitions_of(config, address):
            continue
        if address in config.home.mesh_prefix:
            problem = f"{address} is inside the mesh prefix, where only Home Agents have addresses"
        elif address in config.home.prefix:
            problem = f"{address} is in no site's partition"
        else:
            problem = f"{address} is outside Home {config.home.prefix}"
        yield Fault(("mobile_routers", name, "home_address"), problem, f"write an address of {partitions}")


def prefixes_lie_in_the_partition_of_the_home_address(config: HomeConfig) -> Iterator[Fault]:
    """The site that is primary for the home address answers for the prefixes too."""
    for key, prefix in mobile_network_prefixes(config):
        partitions = _partitions_of(config, config.mobile_routers[str(key[1])].home_address)
        if not partitions or any(prefix.subnet_of(partition) for _, partition in partitions):
            continue
        site_key, partition = partitions[0]
        if prefix.supernet_of(partition):
            problem = f"{prefix} is shorter than the partition {partition} of {site_key[1]}"
        else:
            problem = f"{prefix} is not in the partition of its home address, {partition} of {site_key[1]}"
        yield Fault(key, problem, f"write a prefix inside {partition}", other=site_key)


def mobile_network_prefixes_do_not_overlap(config: HomeConfig) -> Iterator[Fault]:
    for (one, _), (two, prefix) in overlaps(list(mobile_network_prefixes(config))):
        owner = "another prefix of its own" if one[1] == two[1] else f"a prefix of {one[1]}"
        yield Fault(two, f"{prefix} overlaps {owner}", "write a prefix that overlaps no other", other=one)


def home_addresses_lie_in_no_prefix_of_others(config: HomeConfig) -> Iterator[Fault]:
    owners = {prefix: key for key, prefix in mobile_network_prefixes(config)}
    lengths = {prefix.prefixlen for prefix in owners}
    for name, mobile_router in config.mobile_routers.items():
        address = mobile_router.home_address
        for length in sorted(lengths):
            prefix = IPv6Network((address, length), strict=False)
            owner = owners.get(prefix)
            if owner and owner[1] != name:
                yield Fault(
                    ("mobile_routers", name, "home_address"),
                    f"{address} is inside {prefix}, a prefix of {owner[1]}",
                    "write an address that is in no other mobile router's prefixes",
                    other=owner,
                )


def lab_as_numbers_are_not_the_homes(config: HomeConfig) -> Iterator[Fault]:
    key, first, sites = ("lab", "first_asn"), config.lab.first_asn, len(config.sites)
    last = first + sites - 1
    if last > _LAST_ASN:
        yield Fault(
            key, f"{sites} sites need AS numbers up to {last}", f"write {_LAST_ASN - sites + 1} or less"
        )
    elif first <= config.home.asn <= last:
        yield Fault(
            key,
            f"the Internet's routers get AS {first} to {last}, and {config.home.asn} is Home's own",
            "write a number further away from home.asn",
            other=("home", "asn"),
        )


def lab_areas_are_of_sites(config: HomeConfig) -> Iterator[Fault]:
    for index, name in enumerate(config.lab.ospf6_sites):
        if name not in config.sites:
            key: KeyPath = ("lab", "ospf6_sites", index)
            yield Fault(key, f"there is no site {name}", f"write one of {', '.join(config.sites)}")


def lab_access_routers_are_mobile_routers(config: HomeConfig) -> Iterator[Fault]:
    for index, name in enumerate(config.lab.access_routers):
        if name not in config.mobile_routers:
            key: KeyPath = ("lab", "access_routers", index)
            known = ", ".join(config.mobile_routers) or "nothing, for there are none in this file"
            yield Fault(key, f"there is no mobile router {name}", f"write one of {known}")


def subnets_of_home_end_in_order(config: HomeConfig) -> Iterator[Fault]:
    for index, subnet in enumerate(config.home.subnets):
        key: KeyPath = ("home", "subnets", index)
        if not subnet.prefix.subnet_of(config.home.prefix):
            yield Fault(
                (*key, "prefix"), f"{subnet.prefix} is outside Home", f"name a part of {config.home.prefix}"
            )
        if subnet.preferred_until is not None and subnet.preferred_until > subnet.valid_until:
            yield Fault(
                (*key, "preferred_until"),
                "it would be preferred for longer than it is valid",
                f"write {subnet.valid_until.isoformat()} or an earlier time",
            )


CHECKS: tuple[Check, ...] = (
    tunnels_between_sites_are_agreed_to_be_plain,
    enough_sites_can_be_reached,
    names_differ,
    subnets_of_home_end_in_order,
    *KEY_CHECKS,
    proxies_are_home_agents,
    addresses_are_routable_unicast,
    addresses_differ,
    partitions_lie_inside_home,
    partitions_are_separate_or_shared,
    *SATELLITE_CHECKS,
    *LOCATE_CHECKS,
    mesh_prefix_is_no_partition,
    haha_addresses_lie_in_the_mesh_prefix,
    the_internet_is_outside_home,
    the_internet_is_not_numbered_twice,
    outer_addresses_come_from_the_provider,
    routers_share_a_link_with_home_agents,
    reflectors_share_a_link_with_the_router,
    home_addresses_lie_in_a_partition,
    prefixes_lie_in_the_partition_of_the_home_address,
    mobile_network_prefixes_do_not_overlap,
    home_addresses_lie_in_no_prefix_of_others,
    lab_as_numbers_are_not_the_homes,
    lab_areas_are_of_sites,
    lab_access_routers_are_mobile_routers,
)


def _names(config: HomeConfig) -> Iterator[tuple[str, KeyPath]]:
    """Each name, followed by those that the lab derives from it."""
    for site_name, site in config.sites.items():
        for suffix in ("", "-router", "-host", "-inner"):
            yield site_name + suffix, ("sites", site_name)
        for name in site.reflectors:
            yield name, ("sites", site_name, "reflectors", name)
        for name in site.home_agents:
            yield name, ("sites", site_name, "home_agents", name)
    for name in config.mobile_routers:
        for suffix in ("", "-lfn"):
            yield name + suffix, ("mobile_routers", name)


def _addresses(config: HomeConfig) -> Iterator[tuple[KeyPath, IPv6Address]]:
    for site_name, site in config.sites.items():
        yield ("sites", site_name, "router", "address"), site.router.address
        for name, reflector in site.reflectors.items():
            yield ("sites", site_name, "reflectors", name, "address"), reflector.address
        for name, home_agent in site.home_agents.items():
            yield ("sites", site_name, "home_agents", name, "outer"), home_agent.outer
            yield ("sites", site_name, "home_agents", name, "haha"), home_agent.haha
    for name, mobile_router in config.mobile_routers.items():
        yield ("mobile_routers", name, "home_address"), mobile_router.home_address


def _internet(config: HomeConfig) -> Iterator[PlacedPrefix]:
    for name, site in config.sites.items():
        yield ("sites", name, "provider_prefix"), site.provider_prefix
    yield ("lab", "internet_prefix"), config.lab.internet_prefix


def _partitions_of(config: HomeConfig, address: IPv6Address) -> list[PlacedPrefix]:
    """The partitions that hold this address, in the file's order; several where sites share one."""
    return [
        (("sites", name, "partition"), partition)
        for name, _, partition in config.partitions()
        if address in partition
    ]


def _noun(key: KeyPath) -> str:
    return "mesh prefix" if key == ("home", "mesh_prefix") else f"provider prefix of {key[1]}"
