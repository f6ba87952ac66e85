"""`jnst studio`: a page on this machine where a picture is painted and steered."""

import argparse
import sys
import webbrowser
from pathlib import Path

from jnst.cli.flags import add_config_flags, read_settings
from jnst.errors import ConfigError, JnstError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of the command; nothing heavy is imported for them."""
    parser.add_argument("pictures", nargs="*", metavar="PICTURE", help="a photo, then paintings, to begin with")
    parser.add_argument(
        "-o", "--output", metavar="FOLDER", default="jnst-studio", help="for kept pictures (jnst-studio)"
    )
    parser.add_argument("--preset", default="default", metavar="NAME", help="recipe; `jnst presets` lists them")
    parser.add_argument("--weights", default="auto", metavar="NAME|FILE", help="network weights (auto)")
    parser.add_argument("--network", metavar="NAME", help="vgg19, vgg16, or gordic's vgg16-experimental")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of random initial pictures (0)")
    parser.add_argument(
        "--port", type=int, default=0, metavar="N", help="to listen at, on this machine alone (a free one)"
    )
    parser.add_argument("--no-browser", action="store_true", help="print the link and open nothing")
    add_config_flags(parser)


def run(arguments: argparse.Namespace) -> int:
    """Runs the command until Ctrl-C."""
    settings = read_settings(arguments)
    if not 0 <= arguments.port <= 65_535:
        raise ConfigError(f"port is {arguments.port}; expected 1 to 65535, or 0 for a free one")
    try:
        from jnst.studio.server import listen, serve
    except ImportError as error:
        raise JnstError(f"jnst studio needs starlette and uvicorn ({error}); pip install 'jnst[studio]'") from error
    from jnst.presets.resolve import resolve_run
    from jnst.runtime import configure_jax
    from jnst.studio.session import Studio

    configure_jax()
    resolved = resolve_run(arguments.preset, weights=arguments.weights, network=arguments.network, settings=settings)
    for notice in resolved.notices:
        print(notice, file=sys.stderr)

    def ready(link: str) -> None:
        print(f"the studio is open at\n{link}\nCtrl-C closes it", flush=True)
        if not arguments.no_browser:
            webbrowser.open(link)

    with listen(arguments.port) as listener:
        studio = Studio(resolved, Path(arguments.output), seed=arguments.seed)
        try:
            for index, path in enumerate(arguments.pictures):
                studio.add_file(Path(path), "style" if index else "content")
            serve(studio, listener, ready)
        finally:
            studio.close()
    return 0
