# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""A pre-training run that takes seconds, and how tests start it."""

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image as PILImage

REPO = Path(__file__).resolve().parents[1]

TINY_RECIPE = {
    "method": "mscn_byol",
    "train_split": "train",
    "canvas_size": 32,
    "depth": 18,
    "encoder_fields": {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]},
    "stem": "small",
    "high_pass_sigma": 1.0,
    "image_size": 24,
    "objective": "byol",
    "projector": [16, 8],
    "projector_last_bn": False,
    "predictor": [16, 8],
    "ema": 0.9,
    "optimizer": "lars",
    "base_learning_rate": 2.0,
    "weight_decay": 1e-4,
    "warmup_epochs": 1,
    "num_train_epochs": 4,
    "per_device_train_batch_size": 8,
    "dataloader_num_workers": 0,
    "num_threads": 1,
    "monitor_epochs": 2,
    "monitor_images": 16,
    "logging_steps": 5,
    "save_steps": 3,
    "seed": 3,
    "views": {
        "a": {"size": 24, "high_pass_sigma": 1.0, "mask_p": 1.0, "mask_cell": 4, "noise_std": 0.2},
        "b": {"size": 24, "count": 2, "high_pass_sigma": 1.0, "mask_p": 0.5, "mask_cell": 4, "noise_std": 0.1},
    },
}


def textured(number: int, side: int = 32) -> bytes:
    """A small JPEG with texture, so that crops and filters have something to work on."""
    random = np.random.default_rng(number)
    coarse = PILImage.fromarray(random.integers(0, 256, (6, 6, 3), dtype=np.uint8)).resize((side, side), 3)
    noisy = np.asarray(coarse).astype(int) + random.integers(-20, 20, (side, side, 3))
    out = io.BytesIO()
    PILImage.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(out, "JPEG")
    return out.getvalue()


def pretrain_command(processes: int, *words: str) -> list[str]:
    script = str(REPO / "training" / "pretrain.py")
    if processes == 1:
        return [sys.executable, script, *words]
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    return [sys.executable, *launcher, script, *words]


def environment(tmp_path) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": str(REPO),
        "OMP_NUM_THREADS": "1",
        "MSCN_HF_CACHE": str(tmp_path / "cache"),
        "HF_HUB_OFFLINE": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }


def run_pretrain(tmp_path, processes: int, *words: str, timeout: float = 300) -> subprocess.CompletedProcess:
    return subprocess.run(
        pretrain_command(processes, *words), env=environment(tmp_path), capture_output=True, text=True, timeout=timeout
    )
