"""Plots of an estimate, each as SVG and as PNG. Colours are those of Okabe and Ito, told apart by everybody;
lines and marks differ in form as well."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import matplotlib.colors
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from .estimate import Estimate
from .geography import Floats, Ints, along, degrees, distance, positions
from .kinds import Kind
from .variants import Variant
from .world import World

_COLOUR = {
    Variant.BASIC_NEMO: "#000000",
    Variant.PARTITIONED: "#D55E00",
    Variant.LEAKS: "#0072B2",
    Variant.PROJECTION: "#009E73",
}
_LINE = {Variant.BASIC_NEMO: ":", Variant.PARTITIONED: "--", Variant.LEAKS: "-", Variant.PROJECTION: "-."}
_MARK = {Variant.BASIC_NEMO: "s", Variant.PARTITIONED: "^", Variant.LEAKS: "o", Variant.PROJECTION: "D"}
_REGION_COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7", "#999999")
_SHOWN_STRETCH = 0.995
"""The part of all pairs that the curves show: the few beyond would squeeze the rest."""
_GRID_DEGREES = 0.5
_NAMED_SITES = 40
"""With more sites a map has no room for their names."""


def draw(result: Estimate, directory: Path) -> list[Path]:
    """Write all plots into a directory that is there. Returns the files. Raises OSError."""
    figures = {
        "stretch-cdf": _stretch_cdf(result),
        "stretch-by-sites": _stretch_by_sites(result),
        "signalling-by-kind": _signalling_by_kind(result),
        "map": _map(result),
    }
    written: list[Path] = []
    # Equal input, equal octets: no random ids and no dates in the SVG.
    with matplotlib.rc_context({"svg.hashsalt": "haha", "svg.fonttype": "path"}):
        for name, figure in figures.items():
            for suffix, metadata in ((".svg", {"Date": None}), (".png", {})):
                file = directory / f"{name}{suffix}"
                figure.savefig(file, dpi=150, metadata=metadata)
                written.append(file)
    return written


def _figure(title: str, width: float = 8.0, height: float = 5.0) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", fontsize=12)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _stretch_cdf(result: Estimate) -> Figure:
    figure, axes = _figure("Path stretch of mobile router and correspondent, there and back")
    parts = np.linspace(0, 1, 1001)
    for variant, one in result.variants.items():
        values = np.quantile(one.paths.stretch, parts)
        axes.plot(
            values,
            parts * 100,
            color=_COLOUR[variant],
            linestyle=_LINE[variant],
            linewidth=2,
            label=variant.value,
        )
    shown = max(float(np.quantile(one.paths.stretch, _SHOWN_STRETCH)) for one in result.variants.values())
    axes.set_xscale("log")
    axes.set_xlim(1, max(shown, 1.1))
    ticks = [tick for tick in (1, 1.25, 1.5, 2, 3, 4, 5, 7, 10, 15, 20, 30, 50) if tick <= shown]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set_ylim(0, 100)
    axes.set_xlabel("delay through the architecture / delay on the great circle (logarithmic)")
    axes.set_ylabel("pairs with no more than that, %")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right", frameon=False)
    return figure


def _stretch_by_sites(result: Estimate) -> Figure:
    by_sites = result.by_sites
    count = len(by_sites.order)
    figure, axes = _figure("What each further site is worth", width=max(8.0, min(0.45 * count, 16)))
    numbers = np.arange(1, count + 1)
    for variant, means in by_sites.means.items():
        axes.plot(
            numbers,
            means,
            color=_COLOUR[variant],
            linestyle=_LINE[variant],
            marker=_MARK[variant],
            linewidth=2,
            label=variant.value,
        )
    step = max(1, count // _NAMED_SITES)
    ticks = numbers[::step]
    axes.set_xticks(ticks, [f"{tick} {by_sites.order[tick - 1]}" for tick in ticks], rotation=45, ha="right")
    axes.set_ylim(bottom=1)
    axes.set_xlabel("number of sites, and the one that was added last")
    axes.set_ylabel("mean path stretch, there and back")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", frameon=False, ncols=4)
    return figure


def _signalling_by_kind(result: Estimate) -> Figure:
    loads = {variant: one.load for variant, one in result.variants.items()}
    kinds = [kind for kind in Kind if any(load.octet_rate((kind,)) for load in loads.values())]
    figure, axes = _figure("Signalling of the whole Home by kind", height=max(3.0, 0.42 * len(kinds) + 1.6))
    for row, kind in enumerate(kinds):
        if row % 2:
            axes.axhspan(row - 0.5, row + 0.5, color="#f2f2f2", zorder=0)
        for number, (variant, load) in enumerate(loads.items()):
            rate = load.octet_rate((kind,)) * 8 / 1000
            if rate:
                axes.plot(
                    rate,
                    row + (number - 1.5) * 0.19,
                    _MARK[variant],
                    color=_COLOUR[variant],
                    markersize=6,
                    zorder=3,
                )
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    axes.set_yticks(range(len(kinds)), [kind.value for kind in kinds])
    axes.set_ylim(max(len(kinds), 1) - 0.5, -0.5)
    axes.set_xlabel("kbit/s (logarithmic)")
    axes.grid(axis="x", alpha=0.3)
    marks = [
        Line2D([], [], color=_COLOUR[variant], marker=_MARK[variant], linestyle="", label=variant.value)
        for variant in loads
    ]
    figure.legend(handles=marks, loc="outside lower center", ncols=4, frameon=False)
    return figure


def _map(result: Estimate) -> Figure:
    world = result.run.world
    figure, axes = _figure("Sites, and where each is the closest", width=12, height=5.8)
    axes.spines[:].set_visible(False)
    _draw_regions(axes, world.places)
    latitude, longitude = degrees(world.city_places)
    axes.plot(longitude, latitude, ".", color="#555555", markersize=4, zorder=2)
    primary = world.is_primary
    for site in np.flatnonzero(~primary):
        _draw_great_circle(axes, world.places[site], world.places[world.parent[site]])
    latitude, longitude = degrees(world.places)
    axes.plot(longitude[primary], latitude[primary], "o", color="black", markersize=9, zorder=4)
    axes.plot(
        longitude[~primary],
        latitude[~primary],
        "^",
        color="white",
        markeredgecolor="black",
        markersize=9,
        zorder=4,
    )
    if len(world.names) <= _NAMED_SITES:
        _name_sites(axes, world, longitude, latitude)
    axes.set_xlim(-180, 180)
    axes.set_ylim(-65, 80)
    axes.set_aspect("equal")
    axes.set_xticks(range(-180, 181, 60), ["180°", "120° W", "60° W", "0°", "60° E", "120° E", "180°"])
    axes.set_yticks((-60, -30, 0, 30, 60), ["60° S", "30° S", "0°", "30° N", "60° N"])
    axes.grid(alpha=0.4, color="white")
    marks = [
        Line2D([], [], color="black", marker="o", linestyle="", markersize=9, label="primary site"),
        Line2D(
            [],
            [],
            color="black",
            marker="^",
            markerfacecolor="white",
            markersize=9,
            label="satellite, with its parent",
        ),
        Line2D([], [], color="#555555", marker=".", linestyle="", label="city"),
    ]
    if primary.all():
        del marks[1]
    figure.legend(handles=marks, loc="outside lower center", ncols=3, frameon=False)
    return figure


def _draw_regions(axes: Axes, places: Floats) -> None:
    longitude = np.arange(-180, 180, _GRID_DEGREES) + _GRID_DEGREES / 2
    latitude = np.arange(-90, 90, _GRID_DEGREES) + _GRID_DEGREES / 2
    grid = positions(*np.meshgrid(latitude, longitude, indexing="ij"))
    closest = np.argmax(grid @ places.T, axis=-1)
    colours = np.array([matplotlib.colors.to_rgb(colour) for colour in _REGION_COLOURS])
    # Half way to white: names and marks stand on it.
    picture = 0.4 * colours[_region_colours(closest, len(places))[closest]] + 0.6
    axes.imshow(picture, extent=(-180, 180, -90, 90), origin="lower", interpolation="nearest", zorder=0)


def _region_colours(closest: Ints, count: int) -> Ints:
    """A colour for each region, another one than its neighbours' as far as there are enough."""
    beside = np.zeros((count, count), dtype=bool)
    for axis in (0, 1):
        # The map has no edge in the east: it goes on in the west.
        other = np.roll(closest, 1, axis=axis) if axis else closest[:-1]
        one = closest if axis else closest[1:]
        beside[one, other] = beside[other, one] = True
    chosen = np.full(count, -1)
    for site in range(count):
        taken = [int(np.sum(chosen[beside[site]] == colour)) for colour in range(len(_REGION_COLOURS))]
        used = [int(np.sum(chosen == colour)) for colour in range(len(_REGION_COLOURS))]
        chosen[site] = min(range(len(_REGION_COLOURS)), key=lambda colour: (taken[colour], used[colour]))
    return chosen


def _draw_great_circle(axes: Axes, start: Floats, end: Floats) -> None:
    steps = np.linspace(0, float(distance(start, end)), 60)
    shape = (len(steps), 3)
    latitude, longitude = degrees(along(np.broadcast_to(start, shape), np.broadcast_to(end, shape), steps))
    # A line over the edge of the map is broken there.
    jumps = np.flatnonzero(np.abs(np.diff(longitude)) > 180) + 1
    axes.plot(
        np.insert(longitude, jumps, np.nan),
        np.insert(latitude, jumps, np.nan),
        color="black",
        linewidth=1.2,
        zorder=3,
    )


def _name_sites(axes: Axes, world: World, longitude: Floats, latitude: Floats) -> None:
    """Each name beside its site, on the side where neither the map ends nor another site or the line to the
    parent is in the way."""
    for site, name in enumerate(world.names):
        east = longitude - longitude[site]
        close = (np.abs(east) < 25) & (np.abs(latitude - latitude[site]) < 5)
        parent_east = np.mod(east[world.parent[site]] + 180, 360) - 180
        in_the_east = 100 * (longitude[site] > 155) + 10 * np.any(close & (east > 0)) + (parent_east > 0)
        in_the_west = 100 * (longitude[site] < -155) + 10 * np.any(close & (east < 0)) + (parent_east < 0)
        left = bool(in_the_east > in_the_west)
        # Where the name cannot give way to the side, it goes up or down, whichever the line does not.
        beside_line = parent_east < 0 if left else parent_east > 0
        down = latitude[world.parent[site]] > latitude[site]
        axes.annotate(
            name,
            (longitude[site], latitude[site]),
            xytext=(-8 if left else 8, (-8 if down else 8) if beside_line else 0),
            textcoords="offset points",
            ha="right" if left else "left",
            va="center",
            fontsize=10,
            zorder=5,
        )
