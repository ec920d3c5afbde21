"""Which device and how many threads. Both are found out, never assumed."""

import os

import joblib
import torch


def device() -> torch.device:
    """CUDA where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def use_threads(count: int | None = None) -> int:
    """Give torch `count` threads; by default all that affinity and cgroup grant to this process."""
    threads = count or joblib.cpu_count()
    torch.set_num_threads(threads)
    return threads


def yield_when_idle() -> None:
    """Let idle OpenMP threads sleep instead of spin; has to run before torch starts its threads.

    Two processes that both spin on the same cores slow each other down by far more than half.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
