"""A whole Home in memory: the machines of `protocol/` under virtual time, under faults that a seed draws."""
