"""The shape of a topology file: sites, what moves, who talks to it. examples/world-topology.yaml says what
each key means."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from ...config.schema import Name, Switch

_NUMBER = re.compile(r"-?[0-9]{1,9}(?:\.[0-9]{1,9})?")
MAX_SITES = 256


def _number(value: object) -> object:
    # Text with a decimal point is still text in the strict YAML of configurations.
    if (isinstance(value, str) and _NUMBER.fullmatch(value)) or type(value) in (int, float):
        return float(value)  # type: ignore[arg-type]
    raise PydanticCustomError("number", "Not a decimal number")


_Number = BeforeValidator(_number)
Weight = Annotated[float, _Number, Field(ge=0, le=1_000_000)]
Latitude = Annotated[float, _Number, Field(ge=-90, le=90)]
Longitude = Annotated[float, _Number, Field(ge=-180, le=180)]
Milliseconds = Annotated[float, _Number, Field(ge=0, le=10_000)]
Speed = Annotated[float, _Number, Field(ge=1, le=30_000)]
"""Kilometres an hour."""
Kilometres = Annotated[float, _Number, Field(ge=0, le=20_100)]
CellLength = Annotated[float, _Number, Field(ge=1, le=20_100)]
PathFactor = Annotated[float, _Number, Field(ge=1, le=10)]
Seconds = Annotated[int, Field(strict=True, ge=4, le=262_140)]
Prefixes = Annotated[int, Field(strict=True, ge=1, le=40)]
Correspondents = Annotated[int, Field(strict=True, ge=1, le=100)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Role(StrEnum):
    """What a site is in the Home (draft-thubert-mext-global-haha-01 s.6)."""

    PRIMARY = "primary"
    SATELLITE = "satellite"


class HomeChoice(StrEnum):
    """In whose partition mobile routers have their home."""

    BY_SHARE = "by-share"
    CLOSEST = "closest"
    """The primary site closest to one end of the route."""


class Site(_Strict):
    """One site; a place is a city, or latitude and longitude."""

    city: str | None = None
    latitude: Latitude | None = None
    longitude: Longitude | None = None
    role: Role = Role.PRIMARY
    parent: Name | None = None
    share: Weight | None = None
    """Of all mobile routers, how many have their home in its partition: a weight. Default: 1."""


class Route(_Strict):
    """There and back on the great circle between two cities."""

    start: str
    end: str


class Group(_Strict):
    """Mobile routers of one kind."""

    share: Weight = 1.0
    speed: Speed
    lifetime: Seconds = 600
    prefixes: Prefixes = 1
    cell: CellLength | None = None
    """Kilometres after which the access link is another one, though the site is the same. Default: never."""
    correspondents: Correspondents = 3
    home: HomeChoice = HomeChoice.BY_SHARE
    routes: list[Route] | None = Field(default=None, min_length=1)
    cities: list[str] | None = Field(default=None, min_length=2)
    min_distance: Kilometres = 0.0
    max_distance: Kilometres = 20_100.0


class Latency(_Strict):
    path_factor: PathFactor = 1.4
    last_mile: Milliseconds = 5.0
    matrix: Path | None = None


class HandOver(_Strict):
    """What a change of attachment takes besides round trips."""

    movement_detection: Milliseconds = 50.0
    optimistic: Switch = True
    processing: Milliseconds = 1.0


class Topology(_Strict):
    """The whole file."""

    sites: dict[Name, Site] = Field(min_length=1, max_length=MAX_SITES)
    mobiles: dict[Name, Group] = Field(min_length=1)
    correspondents: dict[str, Weight] = Field(default_factory=dict)
    latency: Latency = Latency()
    hand_over: HandOver = HandOver()
    holding_time: Seconds = 600
    """Of an on-demand route."""
    basic_nemo: Name | None = None
    """The site of the only Home Agent of basic NEMO. Default: where it is closest to all."""
