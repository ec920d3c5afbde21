"""Randomness by address: the same seed and the same place give the same numbers, whatever ran before.

Every training step asks for a generator of its own, named by stage and step. So a run that was stopped and resumed
draws what the undisturbed run would have drawn, and no generator state has to be stored.
"""

import hashlib

import torch


def rng(seed: int, *place: str | int) -> torch.Generator:
    """A CPU generator for `place`, for instance `rng(seed, "deprivatization", step)`."""
    text = repr((seed, *place)).encode()
    return torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1)


def seed_initial_weights(seed: int, *place: str | int) -> None:
    """Seed torch's global generator, which the initialisers of `torch.nn` draw from."""
    torch.manual_seed(rng(seed, *place).initial_seed())


def seed_dropout(seed: int, *place: str | int) -> None:
    """Seed torch's global generator, which dropout draws from on every device, for one training step."""
    torch.manual_seed(rng(seed, *place, "dropout").initial_seed())
