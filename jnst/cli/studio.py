"""`jnst studio`: a page on this machine where a picture is painted and steered."""

import argparse
import sys
from pathlib import Path
from typing import Any

from jnst.cli.flags import add_config_flags, read_settings
from jnst.cli.live_page import add_page_flags, check_port, import_server, show_link
from jnst.cli.preset_flags import add_preset_flags
from jnst.cli.terminal import open_printer
from jnst.progress.bar import ProgressBar
from jnst.progress.callbacks import Silent


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of the command; nothing heavy is imported for them."""
    parser.add_argument("pictures", nargs="*", metavar="PICTURE", help="a photo, then paintings, to begin with")
    parser.add_argument(
        "-o", "--output", metavar="FOLDER", default="jnst-studio", help="for kept pictures (jnst-studio)"
    )
    add_preset_flags(parser, optimizer=False)
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of random initial pictures (0)")
    add_page_flags(parser)
    add_config_flags(parser)


def run(arguments: argparse.Namespace) -> int:
    """Runs the command until Ctrl-C."""
    settings = read_settings(arguments)
    check_port(arguments.port)
    with open_printer() as printer:
        server = import_server()
        listener = server.listen(arguments.port)
        try:
            studio = _open_studio(arguments, settings, printer)
        except BaseException:
            listener.close()
            raise
    with listener:
        try:
            server.serve(studio, listener, lambda link: show_link(link, browser=not arguments.no_browser))
        finally:
            with ProgressBar(sys.stderr) as printer:
                printer.doing("closing, when the present step is done (Ctrl-C: at once)")
                studio.close()
    return 0


def _open_studio(arguments: argparse.Namespace, settings: dict[str, Any], printer: Silent) -> Any:
    from jnst.presets.resolve import resolve_run
    from jnst.runtime import configure_jax
    from jnst.studio.session import Studio

    notice = configure_jax()
    printer.doing("reading the weights")
    resolved = resolve_run(arguments.preset, weights=arguments.weights, network=arguments.network, settings=settings)
    for line in filter(None, (notice, *resolved.notices)):
        printer.note(line)
    printer.doing("reading the pictures")
    studio = Studio(resolved, Path(arguments.output), seed=arguments.seed)
    try:
        for index, path in enumerate(arguments.pictures):
            studio.add_file(Path(path), "style" if index else "content")
    except BaseException:
        studio.close()
        raise
    return studio
