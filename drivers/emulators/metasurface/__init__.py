"""Emulated metasurface controllers."""
