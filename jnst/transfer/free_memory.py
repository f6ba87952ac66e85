"""How much memory a run may use: most of what is free on a device, or in the machine."""

import os
from typing import Any

import jax

# What a batch may fill of what is free; the rest is for compiler scratch memory and for reading and writing pictures.
_FILL = 0.75


def usable_bytes(memory: int) -> int:
    """What a run may use of that much free memory."""
    return round(_FILL * memory)


def available_bytes(device: Any = None) -> int:
    """Memory that a batch may use: free on the accelerator, or of the machine for a CPU."""
    stats = (device or jax.local_devices()[0]).memory_stats() or {}
    if "bytes_limit" in stats:
        return usable_bytes(stats["bytes_limit"] - stats.get("bytes_in_use", 0))
    # Simulated devices share one machine.
    return usable_bytes(_free_memory()) // len(jax.local_devices())


def _free_memory() -> int:
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return 1024 * int(line.split()[1])
    except OSError:
        pass
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (AttributeError, ValueError, OSError):
        return 4 << 30
