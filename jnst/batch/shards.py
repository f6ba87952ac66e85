"""Which devices, and who owns which images.

Images share nothing but the network's weights, so a mesh covers the devices of one process and hosts share nothing but
the list of work: no step of the computation waits for another device, let alone for another host.
"""

import hashlib
import os
from dataclasses import dataclass

import jax

from jnst.errors import ConfigError, quote


@dataclass(frozen=True)
class Share:
    """One of `count` equal parts of the work; `index` counts from zero."""

    index: int = 0
    count: int = 1

    def owns(self, name: str) -> bool:
        """Whether this part holds the item of that name.

        Decided by the name's hash alone, so that processes which saw different listings of a folder still never do
        an item twice. Parts are equal on average: of n items each gets n / count, give or take √(n / count).
        """
        digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.index

    def __str__(self) -> str:
        return f"{self.index + 1}/{self.count}"


def parse_share(text: str) -> Share:
    """The share that `--shard` names, which counts from one.

    >>> parse_share("2/8")
    Share(index=1, count=8)
    """
    index, _, count = text.partition("/")
    try:
        share = Share(int(index) - 1, int(count))
    except ValueError:
        share = Share(-1, 0)
    if not 0 <= share.index < share.count:
        raise ConfigError(f"shard is {quote(text)}; expected I/N with I from 1 to N, such as 2/8, or auto")
    return share


def join_fleet(
    coordinator: str | None = None, processes: int | None = None, index: int | None = None, *, timeout: float = 300
) -> Share:
    """This process's share among those of one job, through `jax.distributed`. Call before anything else uses JAX.

    On TPU pods, Slurm and Open MPI everything is found out; elsewhere give the coordinator's host:port, the number of
    processes and this one's number (or COORDINATOR_ADDRESS, NUM_PROCESSES and PROCESS_ID in the environment).

    Raises:
        ConfigError: when the others cannot be found.
    """
    coordinator = coordinator or os.environ.get("COORDINATOR_ADDRESS")
    processes = _from_environment("NUM_PROCESSES") if processes is None else processes
    index = _from_environment("PROCESS_ID") if index is None else index
    try:
        jax.distributed.initialize(coordinator, processes, index, initialization_timeout=int(timeout))
    except (RuntimeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(
            f"cannot find the other processes of this job ({reason}); give --shard I/N to each of them instead, or "
            "set COORDINATOR_ADDRESS, NUM_PROCESSES and PROCESS_ID"
        ) from error
    return Share(jax.process_index(), jax.process_count())


def _from_environment(name: str) -> int | None:
    """A whole number in an environment variable; None where there is none. Raises ConfigError for anything else."""
    text = os.environ.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise ConfigError(f"{name} is {quote(text)}; expected a whole number")
    return int(text)
