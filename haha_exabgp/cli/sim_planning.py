"""The planning part of `haha sim`: what a world-wide Home costs and gains, as tables, JSON and plots."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from .daemon import failed

if TYPE_CHECKING:
    from ..sim.planning.distribution import Distribution
    from ..sim.planning.estimate import Estimate, VariantEstimate

_PACKAGES = ("numpy", "matplotlib")
_MOST_MOBILES = 1_000_000
_WIDTH = 160


def add_options(parser: argparse.ArgumentParser) -> None:
    """What planning takes on the command line."""
    planning = parser.add_argument_group("planning")
    planning.add_argument(
        "--topology",
        type=Path,
        metavar="FILE",
        help="sites and what moves between them; examples/world-topology.yaml is one, and the manual",
    )
    planning.add_argument(
        "--mobile",
        type=_count,
        default=100_000,
        metavar="N",
        help="mobile routers (default: %(default)s)",
    )
    planning.add_argument(
        "--hours", type=_hours, default=1.0, metavar="H", help="simulated time (default: %(default)s)"
    )
    planning.add_argument("--json", type=Path, metavar="FILE", help="write all numbers there")
    planning.add_argument("--plots", type=Path, metavar="DIR", help="write plots there, as SVG and PNG")


def run(arguments: argparse.Namespace) -> int:
    """Print the tables. Raises ConfigError."""
    seed = 1 if arguments.seed is None else arguments.seed
    try:
        from ..sim.planning.estimate import TooMuch, as_json, estimate  # noqa: PLC0415
        from ..sim.planning.topology import load_topology  # noqa: PLC0415

        if arguments.plots is not None:
            from ..sim.planning.plots import draw  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] not in _PACKAGES:
            raise
        return failed(f"planning needs {error.name}; install it with: pip install 'haha-exabgp[plan]'")
    loaded = load_topology(arguments.topology)
    try:
        result = estimate(loaded, arguments.mobile, arguments.hours * 3600, seed)
        # A file or a pipe has no width that a table would have to fit into.
        _print(result, Console(width=None if sys.stdout.isatty() else _WIDTH))
        if arguments.json is not None:
            arguments.json.write_text(json.dumps(as_json(result), indent=2) + "\n", encoding="ascii")
        if arguments.plots is not None:
            arguments.plots.mkdir(parents=True, exist_ok=True)
            draw(result, arguments.plots)
    except TooMuch as error:
        return failed(str(error))
    except OSError as error:
        return failed(f"{error.filename}: {error.strerror}")
    return 0


def _count(text: str) -> int:
    return whole(text, 1, _MOST_MOBILES)


def whole(text: str, least: int, most: int) -> int:
    """A number of the command line. Raises argparse.ArgumentTypeError."""
    if not (text.isascii() and text.isdigit() and len(text) < 20 and least <= int(text) <= most):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} to {most}")
    return int(text)


def _hours(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.01 <= value <= 1000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of hours from 0.01 to 1000")
    return value


def _print(result: Estimate, console: Console) -> None:
    from ..sim.planning.updates import Cause  # noqa: PLC0415

    simulated = result.run
    names = simulated.world.names
    console.print(
        f"{len(simulated.fleet):,} mobile routers, {len(names)} sites, {simulated.seconds / 3600:g} h,"
        f" seed {result.seed}: {result.moves_a_second(Cause.LOCAL_MOVE):,.1f} local moves and"
        f" {result.moves_a_second(Cause.SITE_MOVE):,.2f} moves between sites a second."
        f" Basic NEMO has its Home Agent at {names[simulated.home_agent]}.\n",
        highlight=False,
        soft_wrap=True,
    )
    for table in (
        _stretch_table(result),
        _gap_table(result),
        _load_table(result),
        _kind_table(result),
        _site_table(result),
    ):
        console.print(table)
        console.print()
    console.print(
        f"BGP updates that the Internet sees: {_internet(result)} a second. If every site announced the"
        f" prefixes it serves to everybody, every router of the Internet would see"
        f" {result.updates_if_announced_globally:,.2f} a second.",
        highlight=False,
        soft_wrap=True,
    )


def _internet(result: Estimate) -> str:
    return f"{sum(one.internet_updates for one in result.variants.values()):g}"


def _table(title: str, *columns: str, caption: str | None = None) -> Table:
    table = Table(title=title, title_justify="left", caption=caption, caption_justify="left")
    table.add_column(columns[0])
    for column in columns[1:]:
        table.add_column(column, justify="right")
    return table


def _cells(values: Distribution, form: str) -> list[str]:
    if not values.count:
        return ["-"] * 4
    return [format(value, form) for value in (values.mean, values.p50, values.p95, values.p99)]


def _stretch_table(result: Estimate) -> Table:
    table = _table(
        "Path stretch: delay through the architecture / delay on the great circle",
        "round trip",
        *("mean", "p50", "p95", "p99", "ms longer: mean", "p95", "to mobile: mean", "p95"),
    )
    for variant, one in result.variants.items():
        extra, towards = _cells(one.extra_ms, ".0f"), _cells(one.stretch_towards_mobile, ".2f")
        table.add_row(variant.value, *_cells(one.stretch, ".2f"), extra[0], extra[2], towards[0], towards[2])
    return table


def _gap_table(result: Estimate) -> Table:
    table = _table(
        "Hand-over gap, ms",
        "",
        "mean",
        "p50",
        "p95",
        "p99",
        caption="shortcut: until leak or on-demand route serve",
    )
    for variant, one in result.variants.items():
        gaps = one.gaps
        rows = {
            "all moves": gaps.all_moves,
            "same site": gaps.local,
            "other site": gaps.between_sites,
            "other site, former one told first": gaps.former_first,
            "shortcut, after that": gaps.shortcut,
        }
        for label, values in rows.items():
            if values.count:
                table.add_row(f"{variant.value}: {label}", *_cells(values, ".0f"))
        table.add_section()
    return table


def _load_table(result: Estimate) -> Table:
    from ..sim.planning.kinds import MESH_BGP, SITE_BGP  # noqa: PLC0415

    mobiles = len(result.run.fleet)
    table = _table("Load", "", *[variant.value for variant in result.variants])
    rows: dict[str, Callable[[VariantEstimate], str]] = {
        "messages a second": lambda one: f"{one.load.rate():,.0f}",
        "kbit/s": lambda one: f"{one.load.octet_rate() * 8 / 1000:,.0f}",
        "octets an hour at a mobile router": lambda one: f"{one.load.access_octets_an_hour(mobiles):,.0f}",
        "BGP updates a second: in the Internet": lambda one: f"{one.internet_updates:g}",
        "BGP updates a second: between sites": lambda one: f"{one.load.rate(MESH_BGP):,.2f}",
        "BGP updates a second: to own sites": lambda one: f"{one.load.rate(SITE_BGP):,.2f}",
        "routes at the site that has most": lambda one: f"{one.routes.max():,.0f}",
        "routes at all sites": lambda one: f"{one.routes.sum():,.0f}",
    }
    for label, cell in rows.items():
        table.add_row(label, *map(cell, result.variants.values()))
    return table


def _kind_table(result: Estimate) -> Table:
    from ..sim.planning.kinds import Kind  # noqa: PLC0415

    table = _table(
        "Signalling by kind: messages/s, octets/s", "", *[variant.value for variant in result.variants]
    )
    for kind in Kind:
        loads = [one.load for one in result.variants.values()]
        if any(load.rate((kind,)) for load in loads):
            table.add_row(
                kind.value, *[_pair(load.rate((kind,)), load.octet_rate((kind,))) for load in loads]
            )
    return table


def _site_table(result: Estimate) -> Table:
    table = _table(
        "By site: messages/s, octets/s, BGP/s, routes",
        "",
        *[variant.value for variant in result.variants],
        caption="A message between two Home Agents counts at both.",
    )
    for site, name in enumerate(result.run.world.names):
        table.add_row(name, *[_site_cell(one, site) for one in result.variants.values()])
    return table


def _site_cell(one: VariantEstimate, site: int) -> str:
    from ..sim.planning.kinds import MESH_BGP, SITE_BGP  # noqa: PLC0415

    messages = float(one.load.site_rates()[site])
    if not messages:
        return "-"
    octets = float(one.load.site_octet_rates()[site])
    bgp = float(one.load.site_rates((*MESH_BGP, *SITE_BGP))[site])
    return f"{_pair(messages, octets)}  {bgp:.1f}  {one.routes[site]:,.0f}"


def _pair(messages: float, octets: float) -> str:
    if not messages:
        return "-"
    return f"{messages:,.{0 if messages >= 10 else 2}f}  {octets:,.0f}"
