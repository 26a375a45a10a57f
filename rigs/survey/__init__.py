"""The survey of a new acoustic rig: what it hears in silence, who hears whom, how it rings, and which tones to use."""
