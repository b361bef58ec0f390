"""What is said of many values at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .geography import Floats


@dataclass(frozen=True, slots=True)
class Distribution:
    """Mean and percentiles; `count` values, and all of it 0 where there are none."""

    count: int
    mean: float
    p50: float
    p95: float
    p99: float


def distribution(values: Floats) -> Distribution:
    """Of any number of values."""
    if not len(values):
        return Distribution(0, 0.0, 0.0, 0.0, 0.0)
    p50, p95, p99 = np.percentile(values, (50, 95, 99))
    return Distribution(len(values), float(values.mean()), float(p50), float(p95), float(p99))
