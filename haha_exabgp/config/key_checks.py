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


KEY_CHECKS = (key_files_differ, mobile_routers_have_keys, spis_differ)
