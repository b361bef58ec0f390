#!/usr/bin/env bash
# A site with two Home Agents on this machine: one is cut off while packets flow, the other takes over. The path of a
# packet before and after, and after it has come back.
#
#     sudo ./examples/two-home-agents.sh
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

need_root
setup_packages frr iproute2 iputils-ping kmod nftables python3 python3-venv tcpdump util-linux
setup_python "$root"
"$venv/bin/haha" keys "$root/configs/two-home-agents.yaml"
exec "$venv/bin/python" "$root/examples/two_home_agents.py" "$root/configs/two-home-agents.yaml"
