"""Linux: netlink, tunnels, packet sockets, the nftables guard."""
