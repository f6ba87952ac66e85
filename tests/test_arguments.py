"""Public functions given arguments of another kind: one sentence of ours, before anything is computed."""

import os
import subprocess
import sys

import wrong_arguments


def test_an_argument_of_another_kind_is_named_in_one_sentence():
    """Every wrong argument in every place, in a process without the tests' own check of types."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, wrong_arguments.__file__]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout == ""
