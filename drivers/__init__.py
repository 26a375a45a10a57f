"""Drivers: each speaks to one instrument, through a seam behind which the instrument or its emulator stands."""
