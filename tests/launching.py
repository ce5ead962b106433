# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Scripts of tests in processes of their own."""

import subprocess
import sys
from pathlib import Path


def run_script(text: str, folder: Path, processes: int, *arguments: object) -> None:
    """Runs a script, in `folder`, on one process or several; fails the test where it fails."""
    script = folder / "script.py"
    script.write_text(text)
    here = Path(__file__).parent
    environment = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": f"{here.parent}:{here}:{here / 'evaluation'}",
        "OMP_NUM_THREADS": "1",
        "HOME": str(folder),
    }
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    command = [sys.executable, *(launch if processes > 1 else []), str(script), *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
