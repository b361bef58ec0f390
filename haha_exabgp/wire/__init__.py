"""Bytes <-> typed messages: IPv6, ICMPv6, Mobility Header, mobility options. Pure."""
