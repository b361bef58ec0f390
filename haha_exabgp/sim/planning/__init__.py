"""What a world-wide Home costs and gains before it is built: docs/planning.md says what is modelled."""
