"""Values that several verbs take on the command line."""

from __future__ import annotations

import argparse

from ..config.schema import KeyAlgorithm


def key_algorithm(text: str) -> KeyAlgorithm:
    """Read the name of an algorithm. Raises ArgumentTypeError, which argparse tells as it is."""
    try:
        return KeyAlgorithm(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not known; write {' or '.join(KeyAlgorithm)}"
        ) from error
