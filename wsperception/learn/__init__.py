"""Learning: losses as pure functions, and one file per method."""
