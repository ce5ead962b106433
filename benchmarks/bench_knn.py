# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Time and peak memory of k-NN classification: this package's, in chunks, against lightly's `knn_predict`.

    python benchmarks/bench_knn.py [--queries 10000] [--bank 50000] [--dim 2048] [--rounds 3] [--json OUT]

Every measurement is a process of its own that makes the same features, clusters of 100 classes of unit length, and
then predicts. Contenders run in turn; the table gives medians. Memory is the peak of the process's resident memory
less what it occupied before. Predictions are compared at the end.
"""

import argparse
import hashlib
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import normalize

from mscn_hf.evaluation.probes.knn import knn_predict

CLASSES = 100
K, TEMPERATURE = 20, 0.07


def features(bank: int, queries: int, dim: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Bank (N, D), its classes (N,), queries (M, D), of unit length."""
    generator = torch.Generator().manual_seed(0)
    means = torch.randn(CLASSES, dim, generator=generator)
    labels = torch.randint(CLASSES, (bank + queries,), generator=generator)
    rows = torch.randn(bank + queries, dim, generator=generator).mul_(4.0)
    for part in torch.arange(bank + queries).split(8192):
        rows[part] = normalize(rows[part] + means[labels[part]], dim=1)
    return rows[:bank], labels[:bank], rows[bank:]


def predict(name: str, bank_ND: torch.Tensor, labels_N: torch.Tensor, queries_MD: torch.Tensor) -> torch.Tensor:
    """Predicted classes (M,)."""
    if name == "mscn-hf":
        return knn_predict(bank_ND, labels_N, queries_MD, K, TEMPERATURE, CLASSES).argmax(dim=1)
    from lightly.utils.benchmarking import knn_predict as peer

    return peer(queries_MD, bank_ND.T, labels_N, CLASSES, knn_k=K, knn_t=TEMPERATURE)[:, 0]


def measure(name: str, bank: int, queries: int, dim: int, out: str) -> dict[str, float]:
    """Megabytes and seconds of one prediction, in this process; the predictions go to `out`."""
    bank_ND, labels_N, queries_MD = features(bank, queries, dim)
    predict(name, bank_ND[:256], labels_N[:256], queries_MD[:32])  # libraries are loaded, threads started
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    predicted_M = predict(name, bank_ND, labels_N, queries_MD)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    np.save(out, predicted_M.numpy())
    return {"megabytes": (peak - before) / 1024, "seconds": seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=10000)
    parser.add_argument("--bank", type=int, default=50000)
    parser.add_argument("--dim", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", nargs=2, metavar=("NAME", "OUT"), help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    sizes = {name: getattr(arguments, name) for name in ("bank", "queries", "dim")}
    if arguments.one:
        print(json.dumps(measure(arguments.one[0], **sizes, out=arguments.one[1])))
        return
    found: dict[str, list[dict[str, float]]] = {"mscn-hf": [], "lightly": []}
    predicted = {}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(arguments.rounds):
            for name, results in found.items():
                out = str(Path(folder) / f"{name}.npy")
                words = [sys.executable, __file__, "--one", name, out]
                words += [word for key, value in sizes.items() for word in (f"--{key}", str(value))]
                done = subprocess.run(words, capture_output=True, text=True, check=True)
                results.append(json.loads(done.stdout.splitlines()[-1]))
                predicted[name] = np.load(out)
    rows = {
        name: {
            key: {"median": round(statistics.median(v), 2), "least": round(min(v), 2), "most": round(max(v), 2)}
            for key in ("megabytes", "seconds")
            for v in [[result[key] for result in results]]
        }
        for name, results in found.items()
    }
    for name, row in rows.items():
        print(f"{name:<10} {row['seconds']['median']:>8.1f} s {row['megabytes']['median']:>9.0f} MB")
    ours, peer = rows["mscn-hf"], rows["lightly"]
    # Rounds lie side by side in time, which a busy machine changes for both.
    pairs = [a["seconds"] / b["seconds"] for a, b in zip(found["mscn-hf"], found["lightly"], strict=True)]
    differing = int((predicted["mscn-hf"] != predicted["lightly"]).sum())
    summary = {
        "time_ours_over_peer": {"median": round(statistics.median(pairs), 3), "rounds": [round(p, 3) for p in pairs]},
        "memory_ours_over_peer": round(ours["megabytes"]["median"] / peer["megabytes"]["median"], 3),
        "differing_predictions": differing,
        "predictions_sha256": hashlib.sha256(predicted["mscn-hf"].astype(np.int64).tobytes()).hexdigest()[:16],
    }
    print(
        f"ours / lightly: time {summary['time_ours_over_peer']['median']}, memory {summary['memory_ours_over_peer']}"
    )
    print(f"{differing} of {arguments.queries} predictions differ")
    if arguments.json:
        document = {
            "benchmark": "knn",
            "setting": {**sizes, "classes": CLASSES, "k": K, "temperature": TEMPERATURE},
            "machine": {"processor": platform.processor() or platform.machine(), "cpus": os.cpu_count()},
            "versions": {"torch": version("torch"), "lightly": version("lightly")},
            "rounds": arguments.rounds,
            "rows": rows,
            **summary,
        }
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
