"""Scripts on four simulated devices, in a process of their own: the number of devices is settled when JAX starts."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def run_on_four_devices(name: str) -> Any:
    """What a script of this folder prints as JSON."""
    root = Path(__file__).parents[2]
    environment = os.environ | {
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": f"{root}{os.pathsep}{root / 'tests' / 'support'}",
    }
    command = [sys.executable, str(root / "tests" / "support" / name)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)
