"""A generator for each test, with a new seed each time that is printed when the test fails."""

from __future__ import annotations

import os
import random
import secrets

import pytest

SEED = "DIFFERENTIAL_SEED"


@pytest.fixture
def chance() -> random.Random:
    seed = int(os.environ.get(SEED) or secrets.randbits(32))
    print(f"again with {SEED}={seed}")
    return random.Random(seed)
