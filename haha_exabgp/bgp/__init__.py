"""The ExaBGP hook: our routes <-> the API text and JSON of ExaBGP."""
