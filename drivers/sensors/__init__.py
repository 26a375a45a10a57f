"""Drivers of what is only read: sensors and power meters."""
