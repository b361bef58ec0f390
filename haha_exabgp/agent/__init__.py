"""The daemons: protocol, kernel and BGP wired together around one event loop."""
