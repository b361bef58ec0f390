"""A whole Home in memory: the machines of `protocol/` under virtual time, with every fault a seed can bring."""
