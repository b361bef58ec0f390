#!/usr/bin/env bash
# A whole Home on this machine: two sites, an Internet, a mobile router that moves. Sets everything up first.
#
#     sudo ./examples/quickstart.sh           the tour, then everything is removed again
#     sudo ./examples/quickstart.sh --keep    the lab stays up afterwards, to look around in
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

need_root
began=$SECONDS
setup_packages frr iproute2 iputils-ping kmod nftables python3 python3-venv tcpdump util-linux
setup_python "$root"
"$venv/bin/haha" keys "$root/configs/two-sites.yaml"
echo "set up in $((SECONDS - began)) s"
echo
exec "$venv/bin/haha" lab demo "$root/configs/two-sites.yaml" "$@"
