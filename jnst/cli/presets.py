"""`jnst presets`: the presets by name, or one with its reference, its quirks and all its settings."""

import argparse
import json
import textwrap

from jnst.config_json import to_dict
from jnst.presets.presets import NOTES, PRESETS
from jnst.presets.select import find_preset


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of the command."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="preset to show")


def run(arguments: argparse.Namespace) -> int:
    """Runs the command; returns the exit code."""
    if arguments.name is None:
        width = max(map(len, PRESETS))
        for name in PRESETS:
            print(f"{name:<{width}}  {NOTES[name].summary}")
        return 0
    config, notes = find_preset(arguments.name), NOTES[arguments.name]
    print(f"{arguments.name}: {notes.summary}\nReference: {notes.reference}")
    for quirk in notes.quirks:
        print(textwrap.fill(quirk, 100, initial_indent="- ", subsequent_indent="  "))
    print(json.dumps(to_dict(config), indent=1))
    return 0
