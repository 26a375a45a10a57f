"""Which driver is for an instrument, by what it says of itself."""

from __future__ import annotations

from labtrain import registry
from labtrain.errors import InputError


def drivers_for(identity: str) -> list[str]:
    """Names of the registered drivers that are for an instrument with this identity, sorted.

    Parameters
    ----------
    identity : str
        Answer to ``*IDN?``, or what else drivers look at to know their instrument.
    """
    found = []
    for name in registry.names("drivers"):
        try:
            driver = registry.resolve("drivers", name)
        except InputError:  # a package of somebody else that cannot be imported is none of this instrument's
            continue
        if driver.fits(identity):
            found.append(name)
    return found
