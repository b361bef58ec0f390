#!/usr/bin/env bash
# A satellite between two primary sites, on this machine: the way to a mobile router next to it, first by the
# mobile router's primary site, then straight to the satellite's parent; then the parent is lost.
#
#     sudo ./examples/satellite.sh
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

need_root
setup_packages frr iproute2 iputils-ping kmod nftables python3 python3-venv tcpdump util-linux
setup_python "$root"
exec "$venv/bin/python" "$root/examples/satellite.py" "$root/configs/satellite.yaml"
