"""Which device, how many threads, and what becomes of freed memory. The first two are found out, never assumed.

torch is imported inside the functions, because `yield_when_idle` has to come before it.
"""

import ctypes
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""Of glibc's mallopt(3)."""


def yield_when_idle() -> None:
    """Let idle OpenMP threads sleep instead of spin; works only before torch is imported.

    Two processes that both spin on the same cores slow each other down manifold.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def keep_freed_memory() -> None:
    """Have malloc keep what is freed, instead of giving it back to the kernel; for processes that train.

    Every step asks for the memory that the step before has freed, and the kernel zeroes each page of it again. Only
    glibc has the switch, elsewhere nothing happens.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def usable_cores() -> int:
    """Cores that affinity and cgroup grant to this process, at least 1."""
    import joblib  # in tenths of a second, which a process that is told its threads does without

    return int(joblib.cpu_count())


def limit_threads(count: int) -> None:
    """Give this process `count` threads instead of all: torch, be it imported or not, and `use_threads`."""
    yield_when_idle()
    os.environ["OMP_NUM_THREADS"] = os.environ["LOKY_MAX_CPU_COUNT"] = str(count)
    if "torch" in sys.modules:
        use_threads(count)


def use_threads(count: int | None = None) -> int:
    """Give torch `count` threads; by default all that affinity and cgroup grant to this process."""
    import torch

    threads = count or usable_cores()
    torch.set_num_threads(threads)
    return threads


def device() -> "torch.device":
    """CUDA where there is one, else the CPU."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
