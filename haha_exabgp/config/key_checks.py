"""What must hold between the keys of a configuration; see `checks.py`."""

from __future__ import annotations

import os.path
from collections.abc import Iterator

from .errors import Fault, KeyPath
from .keys import FIRST_SPI, free_spi, key_files, placed_keys, uses_directory
from .schema import HomeConfig


def key_files_differ(config: HomeConfig) -> Iterator[Fault]:
    """Who holds a key can act for everybody who holds it."""
    first: dict[str, KeyPath] = {}
    for key, file in key_files(config):
        name = os.path.normpath(file)
        if name in first:
            yield Fault(
                key, f"{name} is used for another key too", "name a file of its own", other=first[name]
            )
        first.setdefault(name, key)


def mobile_routers_have_keys(config: HomeConfig) -> Iterator[Fault]:
    for name, router in config.mobile_routers.items():
        if router.key_file is not None and router.spi is None:
            yield Fault(
                ("mobile_routers", name, "key_file"),
                f"no SPI stands for the key of {name}",
                "write spi: and a number of 256 or more beside it",
            )
        elif config.home.key_directory is not None:
            continue
        elif uses_directory(router):
            yield Fault(
                ("mobile_routers", name),
                f"{name} has no key",
                "write spi and key_file below it, or key_directory below home",
            )
        for place, key in placed_keys(name, router):
            if key.key_file is None and config.home.key_directory is None:
                yield Fault(
                    (*place, "spi"),
                    f"no file holds the key of SPI {key.spi}",
                    "write key_file beside it, or key_directory below home",
                )


def spis_differ(config: HomeConfig) -> Iterator[Fault]:
    first: dict[int, KeyPath] = {config.home.mesh_spi: ("home", "mesh_spi")}
    placed = [
        ((*place, "spi"), key.spi)
        for name, router in config.mobile_routers.items()
        for place, key in placed_keys(name, router)
    ]
    free = free_spi({config.home.mesh_spi, *(spi for _, spi in placed)}, FIRST_SPI - 1)
    for key, spi in placed:
        if spi in first:
            yield Fault(
                key, f"SPI {spi} is taken already", f"write another number, such as {free}", other=first[spi]
            )
        first.setdefault(spi, key)


def keys_are_where_they_are_needed(config: HomeConfig) -> Iterator[Fault]:
    """Whoever has no key of a mobile router asks one that has, by what the mobile router adds for that."""
    site_of = {name: site for _, site, name, _ in config.home_agents()}
    for name, router in config.mobile_routers.items():
        if router.keys_at is None:
            continue
        key: KeyPath = ("mobile_routers", name, "keys_at")
        for index, holder in enumerate(router.keys_at):
            if holder not in site_of:
                yield Fault(
                    (*key, index), f"there is no Home Agent {holder}", f"write one of {', '.join(site_of)}"
                )
        primaries = [
            one for one, site in site_of.items() if site.partition and router.home_address in site.partition
        ]
        for primary in primaries:
            if primary not in router.keys_at:
                yield Fault(key, f"{primary} is its primary and needs its keys", f"add {primary}")
        others = set(site_of) - set(router.keys_at) - set(primaries)
        if router.proxies is not None:
            others &= set(router.proxies)
        if others and router.aaa_key_file is None:
            names = " and ".join(sorted(others))
            yield Fault(
                key,
                f"{names} could not serve {name}: without its keys they pass on what bears an MN-AAA"
                " authenticator, and it makes none",
                f"write aaa_key_file beside it, or proxies without {names}",
            )


KEY_CHECKS = (
    key_files_differ,
    mobile_routers_have_keys,
    spis_differ,
    keys_are_where_they_are_needed,
)
