"""`jnst` and `python -m jnst`."""

import contextlib
import gc
import os
import signal
import sys

# The loop's temporary memory, hundreds of megabytes, is given back and asked for again about once a second. In pages of
# 4 KB that costs a tenth of the time of a picture of 512 pixels with VGG19; glibc reads this when a process begins.
_TUNABLE = "glibc.malloc.hugetlb"


def use_large_pages() -> None:
    """Starts the process again with large pages for large blocks of memory, on Linux and unless it has them already."""
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    if sys.platform == "linux" and _TUNABLE not in tunables:
        asked = ":".join(filter(None, [tunables, f"{_TUNABLE}=1"]))
        # Ctrl-C has to wait until `enter`: while Python starts, it would end in a traceback.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        with contextlib.suppress(OSError):  # forbidden: it goes without
            os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, "GLIBC_TUNABLES": asked})


def enter() -> None:
    """The command; when it paints, with large pages and fewer looks for garbage."""
    try:
        if {"stylize", "batch", "studio", "texture", "reconstruct"} & {*sys.argv[1:]}:
            use_large_pages()
            # Tracing makes a million objects that stay. Looking through them at every 700 new ones, Python's default,
            # took 1.3 s of a picture of 400 pixels; at every 10,000 it takes half a second.
            gc.set_threshold(10_000, 10, 10)
        if sys.platform != "win32":
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        from jnst.cli.main import main  # which takes a moment
    except KeyboardInterrupt:
        print("jnst: stopped", file=sys.stderr)
        sys.exit(130)
    sys.exit(main())


if __name__ == "__main__":
    enter()
