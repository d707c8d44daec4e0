"""Learning: losses as pure functions, a folder for each kind of supervision or tool, and one file per method."""
