"""`python -m tests.uml.haha agent …`: the program as it is, but for a guard of the bridge family."""

from __future__ import annotations

import sys

from haha_exabgp.__main__ import main
from tests.uml.bridge_guard import guards_on_bridges

if __name__ == "__main__":
    with guards_on_bridges():
        sys.exit(main())
