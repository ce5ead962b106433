# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Time of a whole path of 45 L2 strengths: this package's batched solver against scikit-learn's LogisticRegression.

    python benchmarks/bench_logistic.py [--images 10000] [--dim 2048] [--classes 100] [--rounds 1] [--json OUT]

Features are made: overlapping classes, a spectrum that falls like that of an encoder's features, rectified; 2,000 more
images are held out for the choice. Ours is the whole `fit_path`: 45 strengths, the choice and the last fit on all.
scikit-learn fits every fifth strength in float32, each from the solution before (warm_start), with up to 1,000
iterations; its time for 45 is extrapolated, five times that of the nine, without a last fit. It stops where every
entry of the gradient is below --tolerance, by default scikit-learn's own, 1e-4: times can be compared where the
accuracies, printed side by side, are level, and a smaller tolerance brings them nearer. The two run in turn.
"""

import argparse
import json
import os
import platform
import statistics
import time
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from mscn_hf.evaluation.probes.regression import LogisticSettings
from mscn_hf.evaluation.probes.regression_path import fit_path

EVERY = 5
HELD_OUT = 2000


def features(images: int, dim: int, classes: int, separation: float) -> tuple[np.ndarray, np.ndarray]:
    """Features (N + 2000, D) float32 and classes: power-law spectrum in turned coordinates, then max(x, 0).

    Classes differ most along the leading coordinates, so that the best strength lies within the path.
    """
    random = np.random.default_rng(0)
    scale = (np.arange(1, dim + 1) ** -0.5).astype(np.float32)
    means = random.standard_normal((classes, dim), dtype=np.float32) * scale
    labels = random.permutation(np.arange(images + HELD_OUT) % classes)
    rows = separation * means[labels] + random.standard_normal((images + HELD_OUT, dim), dtype=np.float32)
    turn, _ = np.linalg.qr(random.standard_normal((dim, dim), dtype=np.float32))
    return np.maximum(3 * (rows * scale) @ turn + 0.3, 0, dtype=np.float32), labels


def ours(fit: tuple[np.ndarray, np.ndarray], held: tuple[np.ndarray, np.ndarray], classes: int) -> dict:
    """Seconds, and the held-out accuracy of each strength."""
    path = LogisticSettings().path("top1_accuracy")
    started = time.perf_counter()
    classifier = fit_path(path, *fit, *held, classes)
    seconds = time.perf_counter() - started
    accuracy = {trial["strength"]: trial["held_out_top1_accuracy"] for trial in classifier.trials}
    return {"seconds": seconds, "accuracy": accuracy}


def sklearn(fit: tuple[np.ndarray, np.ndarray], held: tuple[np.ndarray, np.ndarray], tolerance: float) -> dict:
    """Seconds for 45 strengths by those of nine, and the held-out accuracy of the nine."""
    strengths = sorted(LogisticSettings().path("top1_accuracy").strengths, reverse=True)[EVERY // 2 :: EVERY]
    model = LogisticRegression(tol=tolerance, max_iter=1000, warm_start=True)
    accuracy, seconds, iterations = {}, 0.0, []
    for strength in strengths:
        model.set_params(C=1 / strength)
        started = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(*fit)
        seconds += time.perf_counter() - started
        accuracy[strength] = float(model.score(*held))
        iterations.append(int(model.n_iter_[0]))
    return {"seconds": EVERY * seconds, "accuracy": accuracy, "iterations": iterations}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10000)
    parser.add_argument("--dim", type=int, default=2048)
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--separation", type=float, default=1.5, help="of the classes' means")
    parser.add_argument("--tolerance", type=float, default=1e-4, help="scikit-learn's tol")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    x_ND, y_N = features(arguments.images, arguments.dim, arguments.classes, arguments.separation)
    fit, held = (x_ND[:-HELD_OUT], y_N[:-HELD_OUT]), (x_ND[-HELD_OUT:], y_N[-HELD_OUT:])
    rounds = [
        (ours(fit, held, arguments.classes), sklearn(fit, held, arguments.tolerance)) for _ in range(arguments.rounds)
    ]
    mine, peer = rounds[-1]
    shared = [min(mine["accuracy"], key=lambda known: abs(known - strength)) for strength in peer["accuracy"]]
    rows = [
        {"strength": s, "ours": mine["accuracy"][s], "sklearn": accuracy, "iterations": count}
        for s, accuracy, count in zip(shared, peer["accuracy"].values(), peer["iterations"], strict=True)
    ]
    for row in rows:
        print(f"lambda {row['strength']:>10.3g}  held-out accuracy {row['ours']:.4f}, sklearn {row['sklearn']:.4f}")
    seconds = {"mscn-hf": [r[0]["seconds"] for r in rounds], "sklearn": [r[1]["seconds"] for r in rounds]}
    ratios = [b / a for a, b in zip(*seconds.values(), strict=True)]
    best = {"ours": max(row["ours"] for row in rows), "sklearn": max(row["sklearn"] for row in rows)}
    print(f"best of these: {best['ours']:.4f}, sklearn {best['sklearn']:.4f}")
    for name, values in seconds.items():
        print(f"{name:<8} {statistics.median(values):>8.1f} s for 45 strengths")
    print(f"sklearn / ours: {statistics.median(ratios):.1f}")
    if arguments.json:
        document = {
            "benchmark": "logistic",
            "setting": {
                k: getattr(arguments, k) for k in ("images", "dim", "classes", "separation", "tolerance", "threads")
            },
            "machine": {"processor": platform.processor() or platform.machine(), "cpus": os.cpu_count()},
            "versions": {name: version(name) for name in ("torch", "scikit-learn", "numpy")},
            "rounds": arguments.rounds,
            "seconds": {name: [round(v, 2) for v in values] for name, values in seconds.items()},
            "extrapolated": f"scikit-learn's from every {EVERY}th strength",
            "sklearn_over_ours": [round(ratio, 2) for ratio in ratios],
            "held_out": rows,
            "best_held_out": best,
        }
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
