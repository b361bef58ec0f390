"""The sphere: where things are, how far apart, and how long light in fibre takes from one to the other.

A position is a unit vector (x, y, z); arrays of positions have the shape (n, 3).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Truths = npt.NDArray[np.bool_]

EARTH_RADIUS_KM = 6371.0088
"""The mean radius."""
FIBRE_KM_PER_MS = 299_792.458 / 1000 * 2 / 3
"""Light in glass: two thirds of its speed in vacuum."""


class Delay(NamedTuple):
    """How a distance becomes a delay."""

    path_factor: float
    """Cables are that much longer than the great circle."""
    last_mile_ms: float
    """One way, over the access link of a mobile router or a correspondent."""

    def one_way(self, km: Floats) -> Floats:
        """Milliseconds over so many kilometres of great circle, without last miles."""
        delay: Floats = km * (self.path_factor / FIBRE_KM_PER_MS)
        return delay


def positions(latitudes: npt.ArrayLike, longitudes: npt.ArrayLike) -> Floats:
    """Positions of places given in degrees, north and east positive."""
    latitude, longitude = np.radians(latitudes), np.radians(longitudes)
    level = np.cos(latitude)
    return np.stack([level * np.cos(longitude), level * np.sin(longitude), np.sin(latitude)], axis=-1)


def degrees(places: Floats) -> tuple[Floats, Floats]:
    """Latitudes and longitudes of positions."""
    latitude: Floats = np.degrees(np.arcsin(np.clip(places[..., 2], -1, 1)))
    longitude: Floats = np.degrees(np.arctan2(places[..., 1], places[..., 0]))
    return latitude, longitude


def distance(one: Floats, other: Floats) -> Floats:
    """Kilometres of great circle between positions, pair by pair; shapes are broadcast."""
    chord = np.sqrt(np.sum((one - other) ** 2, axis=-1))
    # By the chord and not by the product of the vectors, which says nothing of places close to each other.
    arc: Floats = 2 * EARTH_RADIUS_KM * np.arcsin(np.minimum(chord / 2, 1))
    return arc


def distances(rows: Floats, columns: Floats) -> Floats:
    """Kilometres of great circle from each of the one to each of the other, shape (rows, columns)."""
    return distance(rows[:, None, :], columns[None, :, :])


def along(start: Floats, end: Floats, km: Floats) -> Floats:
    """The positions so many kilometres from `start` on the great circle to `end`, pair by pair; the two
    differ and are not opposite to each other."""
    arc = distance(start, end) / EARTH_RADIUS_KM
    done = km / EARTH_RADIUS_KM
    sine = np.maximum(np.sin(arc), 1e-12)
    place: Floats = (np.sin(arc - done) / sine)[..., None] * start + (np.sin(done) / sine)[..., None] * end
    return place
