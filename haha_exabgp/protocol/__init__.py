"""The state machines and route decisions: event in, effects out. No sockets, no clock, no threads."""
