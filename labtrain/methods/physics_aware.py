"""Physics-aware training: forward through the physics, backward through a twin of it (backward.py has the equations).

L. G. Wright, T. Onodera, M. M. Stein, T. Wang, D. T. Schachter, Z. Hu, P. L. McMahon, Nature 601, 549 (2022). The loss
is that of the rig itself, with its noise and whatever the twin misses; the twin has to be good enough for the direction
of a step alone. What it mispredicts does not add up from block to block, because each vector-Jacobian product is taken
at the drives that the physics really got.
"""

from __future__ import annotations

from typing import Literal

from labtrain.methods.through_twins import ThroughTwins, ThroughTwinsConfig


class PhysicsAwareConfig(ThroughTwinsConfig):
    """Settings of physics-aware training."""

    method: Literal["physics-aware-training"] = "physics-aware-training"


class PhysicsAware(ThroughTwins):
    """Trains all linear maps on measured passes; the config section is :class:`PhysicsAwareConfig`."""

    Config = PhysicsAwareConfig
    config: PhysicsAwareConfig
    # A twin is one of this rig: random or shuffled responses would be answers of something else.
    ablations = ("off", "no_skip")
