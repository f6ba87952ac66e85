"""`jnst` and `python -m jnst`."""

import contextlib
import gc
import os
import signal
import sys
from types import FrameType

# The loop's temporary memory, hundreds of megabytes, is given back and asked for again about once a second. In pages of
# 4 KB that costs a tenth of the time of a picture of 512 pixels with VGG19; glibc reads this when a process begins.
_TUNABLE = "glibc.malloc.hugetlb"


def use_large_pages() -> None:
    """Starts the process again with large pages for large blocks of memory, on Linux and unless it has them already."""
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    if sys.platform != "linux":
        return
    if _TUNABLE not in tunables:
        asked = ":".join(filter(None, [tunables, f"{_TUNABLE}=1"]))
        # Ctrl-C waits until the second start has come to this place: while Python starts, it would end in a traceback.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        with contextlib.suppress(OSError):  # forbidden: it goes without
            os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, "GLIBC_TUNABLES": asked})
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def stop_imports() -> None:
    """From here on Ctrl-C while a module is imported ends the process at once.

    Elsewhere it raises KeyboardInterrupt. In the middle of an import that would be lost where a library tries one
    import and then another, and where compiled modules are initialised it ends in an abort or a segmentation fault.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        place = frame
        while place is not None:
            if place.f_code.co_filename.startswith("<frozen importlib"):
                os.write(2, b"\r\x1b[Kjnst: stopped\n" if os.isatty(2) else b"jnst: stopped\n")
                os._exit(130)
            place = place.f_back
        signal.default_int_handler(number, frame)

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, stop)


def leave_at_once(code: int) -> None:
    """Ends a stopped process without taking Python apart: under threads that still compute, that is an abort or a
    segmentation fault. What was begun has been closed or left behind by the exception that stopped it.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(code)


def enter() -> None:
    """The command; when it paints, with large pages and fewer looks for garbage."""
    try:
        stop_imports()
        if {"stylize", "batch", "studio", "texture", "reconstruct"} & {*sys.argv[1:]}:
            use_large_pages()
            # Tracing makes a million objects that stay. Looking through them at every 700 new ones, Python's default,
            # took 1.3 s of a picture of 400 pixels; at every 10,000 it takes half a second.
            gc.set_threshold(10_000, 10, 10)
        from jnst.cli.main import main  # which takes a moment
    except KeyboardInterrupt:
        print("jnst: stopped", file=sys.stderr)
        sys.exit(130)
    code = main()
    if code > 128:  # after a signal
        leave_at_once(code)
    sys.exit(code)


if __name__ == "__main__":
    enter()
