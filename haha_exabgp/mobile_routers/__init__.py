"""Many mobile routers: their database, the files they come from, the rules they keep to."""
