# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""A tiny trained-looking run to publish, a Hub to publish it to, and new processes that talk to that Hub."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hub_server import Hub, hub_server
from PIL import Image
from somebodys_run import HOME_OF_SOMEBODY, result_of

from mscn_hf.evaluation.encoder import weights_hash
from mscn_hf.evaluation.results import append_results
from mscn_hf.models import MSCNConfig, MSCNModel

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def hub() -> Iterator[Hub]:
    with hub_server() as server:
        yield server


@pytest.fixture(scope="session")
def _built_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    run = tmp_path_factory.mktemp("runs") / "imagenette mscn"
    torch.manual_seed(0)
    config = MSCNConfig(
        hidden_sizes=[8, 16], depths=[1, 1], embedding_size=8, layer_type="basic", stem="small", image_size=32
    )
    model = MSCNModel(config).eval()
    with torch.no_grad():  # running statistics of a network that saw something
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2.0)
    model.save_pretrained(run / "encoder")
    training = {
        "recipe": {"dataset_name": f"{HOME_OF_SOMEBODY}/imagenette-96", "learning_rate": 0.375},
        "method": "mscn_simclr",
        "dataset": {"name": f"{HOME_OF_SOMEBODY}/imagenette-96", "split": "train", "revision": None, "rows": 9469},
        "environment": {"python": "3.11.9", "hostname": "janes-laptop"},
        "samples_seen": 94690,
        "seconds": 812.4,
        "command": f"mscn-hf pretrain --dataset_name '{HOME_OF_SOMEBODY}/imagenette-96' --output_dir ~/runs/a",
        "skipped_images": 3,
    }
    (run / "encoder" / "training.json").write_text(json.dumps(training))
    benchmark = {"benchmark_id": "org/ssl-imagenette", "task_id": "knn_top1"}
    sha = weights_hash(model)
    append_results(
        run / "results.jsonl",
        [
            result_of(sha, **benchmark),
            result_of(sha, metric="top5_accuracy", value=0.9, interval=None, interval_method=None),
            result_of("ab" * 32, model="pixels", value=0.375),
            result_of("cd" * 32, dataset="org/other", value=0.123),
        ],
    )
    Image.linear_gradient("L").save(run / "views.png")
    return run, sha


@pytest.fixture
def tiny_run(_built_run: tuple[Path, str], tmp_path: Path) -> Path:
    """A run's folder of one's own: encoder/, results.jsonl, views.png."""
    return Path(shutil.copytree(_built_run[0], tmp_path / _built_run[0].name))


@pytest.fixture(scope="session")
def tiny_hash(_built_run: tuple[Path, str]) -> str:
    """sha256 over the tensors of tiny_run's encoder."""
    return _built_run[1]


@pytest.fixture
def in_new_process(hub: Hub, tmp_path: Path) -> Callable[..., Any]:
    """Runs code in a new Python process against the loopback Hub and gives what it stores in `answer` (JSON).

    `package=False` makes mscn_hf impossible to import there; `arguments` arrive as the list `arguments`.
    """

    def run(code: str, *arguments: object, package: bool = True, **environment: str) -> Any:
        place = tmp_path / "elsewhere"
        place.mkdir(exist_ok=True)
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("HF_") and k != "PYTHONPATH"}
        env = {**inherited, **hub.env, "OMP_NUM_THREADS": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", **environment}
        if package:
            env["PYTHONPATH"] = str(REPOSITORY)
        preamble = "import json, sys\narguments = json.loads(sys.argv[1])\n"
        preamble += "" if package else "sys.modules['mscn_hf'] = None\n"
        script = f"{preamble}{code}\nprint('ANSWER', json.dumps(answer))"
        values = json.dumps([str(a) if isinstance(a, Path) else a for a in arguments])
        done = subprocess.run(
            [sys.executable, "-c", script, values], cwd=place, env=env, capture_output=True, text=True, timeout=240
        )
        assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        return json.loads(done.stdout.rpartition("ANSWER ")[2])

    return run
