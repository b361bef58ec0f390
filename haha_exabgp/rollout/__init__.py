"""From one Home configuration to the configuration of each daemon."""
