"""What every host stands in."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from .loop import EventLoop
from .network import Network
from .trace import Trace


@dataclass(frozen=True, slots=True)
class World:
    """Time, the network, chance, and who writes down what happens."""

    loop: EventLoop
    network: Network
    random: Random
    trace: Trace
