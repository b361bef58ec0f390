"""The schema of one Home (all its sites), loading, validation with line numbers."""
