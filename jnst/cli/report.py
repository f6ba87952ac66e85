"""What a command prints when its picture is made."""

import sys
from pathlib import Path
from typing import Any

from jnst.errors import escape


def report(output: Path, record: dict[str, Any], beside: Path, *, resumable: bool = True) -> None:
    """Prints in a line what came of a run, and how to go on with one that ended early."""
    onward = "--resume goes on" if resumable else f"--init {output} goes on from it"
    print(escape(f"{_outcome(record, onward)}: {output} ({_size_and_time(record)}), record in {beside}"))


def report_elsewhere(output: str, record: dict[str, Any], streams: Any) -> None:
    """The same where no state is left to resume from; on standard error where the picture is on standard output."""
    where = f"a {streams.form} picture on standard output" if streams.standard_output else output
    out = sys.stderr if streams.standard_output else sys.stdout
    print(f"{_outcome(record, '')}: {where} ({_size_and_time(record)})", file=out)


def _outcome(record: dict[str, Any], onward: str) -> str:
    """How the run ended, and how to go on where there is a way."""
    onward = f" ({onward})" if onward else ""
    return {
        "interrupted": f"interrupted; best so far{onward}",
        "time": f"out of time; best so far{onward}",
        "callback": "stopped on the page; best so far",
        "no step": f"out of time before the first step; the initial picture{onward}",
        "no descent": "no better than its start: the loss never fell below that of the initial picture",
        "stuck": "stuck: the loss could not be lowered any further; best so far",
    }.get(record["stopped"], "done")


def _size_and_time(record: dict[str, Any]) -> str:
    seconds, size = record["seconds"], record["size"]
    return f"{size['width']} × {size['height']}, {seconds['run']:.1f} s and {seconds['compile']:.1f} s to compile"
