"""What answers Binding Updates and does nothing else: it checks none, keeps nothing, tells no kernel. No
Home Agent on the same machine, with the same mobile routers, can be faster.

    python -m tests.bench.echo RUN_DIR MOBILE_ROUTERS     in the Home Agent's namespace
"""

from __future__ import annotations

import select
import struct
import sys
from pathlib import Path

from haha_exabgp.kernel.sockets import MobilitySocket

from .bench_home import OUTER

_HOME_ADDRESS = slice(8, 24)
"""Behind the IPv6 header: of the Home Address option, as of the type 2 routing header."""
_SEQUENCE = slice(30, 32)
_IPV6 = struct.Struct("!IHBB16s16s")
_ROUTING = struct.Struct("!BBBBI16s")
_ACKNOWLEDGEMENT = struct.Struct("!BBBBHBB2sHBBH")


def main(run_dir: Path) -> None:
    """Answer until killed."""
    mobility = MobilitySocket()
    receiver = mobility.receivers[0]
    # Who waits for a Home Agent waits for this.
    (run_dir / "control.sock").touch()
    while True:
        select.select([receiver], [], [])
        answers = []
        for _, data, source, _, _ in receiver.receive_batch():
            routing = _ROUTING.pack(135, 2, 2, 1, 0, data[_HOME_ADDRESS])
            acknowledgement = _ACKNOWLEDGEMENT.pack(59, 1, 6, 0, 0, 0, 0, data[_SEQUENCE], 150, 1, 2, 0)
            length = len(routing) + len(acknowledgement)
            answers.append(_IPV6.pack(6 << 28, length, 43, 64, OUTER, source) + routing + acknowledgement)
        mobility.send_batch(answers)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
