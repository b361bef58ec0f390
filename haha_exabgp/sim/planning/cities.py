"""The cities that a topology may name, and where they are."""

from __future__ import annotations

import csv
from functools import cache
from importlib.resources import files
from typing import NamedTuple


class City(NamedTuple):
    """A place on earth, in degrees, north and east positive."""

    continent: str
    latitude: float
    longitude: float


@cache
def cities() -> dict[str, City]:
    """Every city by its name."""
    text = files(__package__).joinpath("cities.csv").read_text(encoding="ascii")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {
        row["name"]: City(row["continent"], float(row["latitude"]), float(row["longitude"]))
        for row in csv.DictReader(lines)
    }
