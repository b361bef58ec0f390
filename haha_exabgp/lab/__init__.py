"""A whole Home in network namespaces, from the same configuration file."""
