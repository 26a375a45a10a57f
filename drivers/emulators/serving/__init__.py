"""Ways out of the process: emulators for other programs."""
