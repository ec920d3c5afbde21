"""What a process is prepared with before it trains."""

import subprocess
import sys

STEPS_AND_THEIR_FAULTS = """
import resource, sys
from shared import compute

if sys.argv[1] == "keep":
    compute.keep_freed_memory()
bytearray(2**26)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for step in range(10):
    bytearray(2**26)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(kept: str) -> int:
    """Of ten steps with 64 MB each."""
    command = [sys.executable, "-c", STEPS_AND_THEIR_FAULTS, kept]
    return int(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout)


def test_freed_memory_is_used_again_without_the_kernel_zeroing_it_anew() -> None:
    assert page_faults("keep") < 100 < 10 * 2**26 // 2**21 <= page_faults("give back")
