# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Peak memory of a ReLICv2 step with all views held at a time, and view by view (`memory_flat`).

    python benchmarks/bench_memory.py [--depth 50] [--size 224] [--batch 8] [--rounds 3] [--json OUT]

Every measurement is a process of its own: forward and backward passes of one step on random images, no optimizer.
On CUDA the figure is `torch.cuda.max_memory_allocated`, on a CPU the process's peak resident memory less what it
occupied before the step (weights and libraries). Contenders run in turn; the table gives medians.

The gradients of the two ways are compared too, in float64 on a small network.
"""

import argparse
import copy
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import torch

from mscn_hf import ReLICv2Config, ReLICv2ForPreTraining
from mscn_hf.methods.siamese import SiameseForPreTraining

CONTENDERS = {
    "2 large views": (2, 0, False),
    "4 large + 2 small views": (4, 2, False),
    "2 large views, view by view": (2, 0, True),
    "4 large + 2 small views, view by view": (4, 2, True),
}


def step(model: SiameseForPreTraining, views: list[torch.Tensor], flat: bool) -> None:
    """One step's forward and backward passes."""
    if not flat:
        model(views).loss.backward()
        return
    targets = model.encode_targets(views)
    for view in range(len(views)):
        model(views, targets=targets, only=view).loss.backward()


def make_views(large: int, small: int, size: int, batch: int, device: torch.device) -> list[torch.Tensor]:
    """Random images; small views have 96 / 224 of the side."""
    sizes = [size] * large + [round(size * 96 / 224)] * small
    return [torch.randn(batch, 3, side, side, device=device) for side in sizes]


def measure(name: str, depth: int, size: int, batch: int) -> dict[str, float]:
    """Megabytes and seconds of one step, in this process."""
    large, small, flat = CONTENDERS[name]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    model = ReLICv2ForPreTraining.from_encoder(ReLICv2Config.resnet(depth), large_views=large).to(device).train()
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.zeros_like(parameter)  # they are there in every step but the first
    views = make_views(large, small, size, batch, device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        started = time.perf_counter()
        step(model, views, flat)
        torch.cuda.synchronize()
        seconds, peak = time.perf_counter() - started, torch.cuda.max_memory_allocated()
    else:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        started = time.perf_counter()
        step(model, views, flat)
        seconds = time.perf_counter() - started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"megabytes": (peak - before) / 2**20, "seconds": seconds}


def gradient_difference() -> float:
    """Greatest difference of a gradient between the two ways, relative to the greatest gradient; float64."""
    torch.manual_seed(0)
    config = ReLICv2Config.resnet(18, embedding_size=8, hidden_sizes=[8, 16, 16, 32], depths=[1, 1, 1, 1])
    fields = {"projector": [32, 16], "predictor": [32, 16]}
    whole = ReLICv2ForPreTraining.from_encoder(config, **fields).double().train()
    parts = copy.deepcopy(whole)
    views = [view.double() for view in make_views(4, 2, 64, 16, torch.device("cpu"))]
    step(whole, views, False)
    step(parts, views, True)
    pairs = [
        (p.grad, q.grad) for p, q in zip(whole.parameters(), parts.parameters(), strict=True) if p.grad is not None
    ]
    return max(float((a - b).abs().max()) for a, b in pairs) / max(float(a.abs().max()) for a, _ in pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--depth", type=int, default=50)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(arguments.one, arguments.depth, arguments.size, arguments.batch)))
        return
    found: dict[str, list[dict[str, float]]] = {name: [] for name in CONTENDERS}
    for _ in range(arguments.rounds):
        for name, results in found.items():
            words = [sys.executable, __file__, "--one", name]
            for option in ("depth", "size", "batch"):
                words += [f"--{option}", str(getattr(arguments, option))]
            done = subprocess.run(words, capture_output=True, text=True, check=True)
            results.append(json.loads(done.stdout.splitlines()[-1]))
    rows = {}
    for name, results in found.items():
        rows[name] = {
            key: {
                "median": round(statistics.median(values), 2),
                "least": round(min(values), 2),
                "most": round(max(values), 2),
            }
            for key in ("megabytes", "seconds")
            for values in [[result[key] for result in results]]
        }
        print(f"{name:<40} {rows[name]['megabytes']['median']:>9.0f} MB {rows[name]['seconds']['median']:>8.2f} s")
    difference = gradient_difference()
    print(f"gradients of the two ways differ by at most {difference:.1e} of the greatest gradient (float64)")
    if arguments.json:
        device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
        document = {
            "benchmark": "memory",
            "setting": {"depth": arguments.depth, "size": arguments.size, "batch": arguments.batch},
            "device": device,
            "machine": {"processor": platform.processor() or platform.machine(), "cpus": os.cpu_count()},
            "versions": {"torch": version("torch"), "transformers": version("transformers")},
            "rounds": arguments.rounds,
            "rows": rows,
            "gradient_difference_float64": difference,
        }
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
