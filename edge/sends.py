"""What a method's questions show of the device's images."""

from enum import StrEnum


class Sends(StrEnum):
    """The worst of what is sent."""

    NOISE = "noise"
    """Nothing."""
    SYNTHETIC = "synthetic"
    """Images of a generator."""
    MIXED = "mixed"
    """Mixtures of private images, and none as it is. No method here stops at that; rows of other tools may."""
    REAL = "real"
    """Private images, as they are or changed."""
