"""What came of a job of many pictures, in words and as JSON types."""

import dataclasses
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Summary:
    """What came of it: pictures made and failed now, found done or failed before, of how many in this share.

    failures: what failed now and why, one line each.
    """

    total: int
    done: int
    failed: int
    done_before: int
    failed_before: int
    seconds: float
    signal: int = 0
    failures: tuple[str, ...] = ()

    @property
    def left(self) -> int:
        return self.total - self.done - self.failed - self.done_before - self.failed_before

    def __str__(self) -> str:
        pace = f"{3600 * self.done / self.seconds:.0f} images per hour" if self.done and self.seconds else ""
        parts = [f"{self.done} done in {self.seconds:.1f} s" + (f" ({pace})" if pace else "")]
        parts += [f"{self.failed} failed"] if self.failed else []
        parts += [f"{self.done_before} done before"] if self.done_before else []
        parts += [f"{self.failed_before} failed before"] if self.failed_before else []
        parts += [f"{self.left} left (go on with --resume)"] if self.left else []
        return ", ".join(parts)

    def first_failures(self, most: int = 3) -> list[str]:
        """A line for each of the first failures, and one for how many more there are."""
        lines = [f"failed: {failure}" for failure in self.failures[:most]]
        more = len(self.failures) - most
        return lines + ([f"… and {more} more failed; the manifest names them all"] if more > 0 else [])

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return dataclasses.asdict(self) | {"left": self.left, "failures": list(self.failures)}
