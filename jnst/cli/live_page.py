"""The local page of `jnst studio` and of `jnst stylize --live`: its flags, its link, and what it needs."""

import argparse
import importlib
import os
import sys
import webbrowser
from typing import Any

from jnst.errors import ConfigError, JnstError


def add_page_flags(parser: Any) -> None:
    """Where the page is, and whether a browser is opened."""
    parser.add_argument(
        "--port", type=int, default=0, metavar="N", help="of the page, on this machine alone (a free one)"
    )
    parser.add_argument("--no-browser", action="store_true", help="print the page's link and open nothing")


def check_port(port: int) -> None:
    """Raises ConfigError for a number that is no port."""
    if not 0 <= port <= 65_535:
        raise ConfigError(f"port is {port}; expected 1 to 65535, or 0 for a free one")


def import_server() -> Any:
    """The module that serves the page.

    Raises:
        JnstError: where what it needs is not installed.
    """
    try:
        return importlib.import_module("jnst.studio.server")
    except ImportError as error:
        raise JnstError(f"the page needs starlette and uvicorn ({error}); pip install 'jnst[studio]'") from error


def show_link(link: str, *, browser: bool) -> None:
    """Prints the link of the studio and opens it."""
    print(f"the studio is open at\n{link}\nCtrl-C closes it", flush=True)
    if browser:
        open_link(link)


def open_link(link: str) -> None:
    """Opens a browser where there is a screen; one that runs in the terminal would take it over."""
    if sys.platform in ("darwin", "win32") or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))):
        webbrowser.open(link)


def add_live_flags(parser: argparse.ArgumentParser) -> None:
    """`--live`, and the flags of its page."""
    group = parser.add_argument_group("live page")
    group.add_argument(
        "--live", action="store_true", help="show the run on a page in the browser, with knobs that act while it paints"
    )
    add_page_flags(group)


def make_painter(arguments: argparse.Namespace, run: Any, job: Any) -> Any:
    """Who paints for `run_job` where --live is given, else None.

    Args:
        arguments: live, port and no_browser are read.
        run: from `resolve_run`.
        job: to be painted.

    Raises:
        JnstError: what the page needs is not installed, or the port is taken.
        ConfigError: --live is given together with what the studio does not do.
    """
    if not arguments.live:
        return None
    server = import_server()
    from jnst.studio.live import check_job, paint_live
    from jnst.studio.session import Studio

    check_job(job)
    server.listen(arguments.port).close()  # a port that is taken is better found out now

    def paint(job: Any, initial: Any, interrupted: Any, printer: Any) -> Any:
        studio = Studio(run._replace(config=job.config), job.output.parent, seed=job.seed, single=True)
        try:
            with server.listen(arguments.port) as listener, server.serving(studio, listener) as link:
                # Whatever else is not to be printed, without the link there is no page.
                printer.problem(f"the run is shown at {link}")
                if not arguments.no_browser:
                    open_link(link)
                painted = paint_live(studio, job, initial, interrupted, printer)
                studio.farewell = f"the run has ended, and its picture is written to {job.output}"
                return painted
        finally:
            studio.close()

    return paint
