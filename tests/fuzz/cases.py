"""Inputs that once failed, one a file: tests/cases/fuzz/<name>.hex."""

from __future__ import annotations

import hashlib
import textwrap
from pathlib import Path

CASES = Path(__file__).parents[1] / "cases" / "fuzz"


def save_case(data: bytes, folder: Path = CASES) -> Path:
    """Keep an input; the file."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{hashlib.sha256(data).hexdigest()[:12]}.hex"
    file.write_text("\n".join(textwrap.wrap(data.hex(), 64)) + "\n")
    return file


def read_case(file: Path) -> bytes:
    """An input that was kept. Raises ValueError for what is not hexadecimal."""
    return bytes.fromhex(file.read_text())
