"""Global HAHA: one IPv6 Home at many sites, by ExaBGP and the Linux kernel."""

__version__ = "0.1.0"
