# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Images a second on one core of each saliency cue and of all four, superpixels included and shared.

    OMP_NUM_THREADS=1 python benchmarks/bench_saliency.py [--rounds 3] [--json OUT]

Nine photographs of scikit-image and scikit-learn at 400 x 300 pixels. A cue's own time has its superpixels in it; that
of all four makes each segmentation once. What ImageNet's 1,281,167 training images cost follows from it: most of them
are about 500 x 375 and are shrunk to 400 pixels first.
"""

import argparse
import json
import os
import platform
import statistics
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image
from sklearn.datasets import load_sample_image
from threadpoolctl import threadpool_limits

from mscn_hf.saliency.cues import CUES
from mscn_hf.saliency.superpixels import SegmentedImage

IMAGENET = 1_281_167
NAMES = ("astronaut", "chelsea", "coffee", "rocket", "hubble_deep_field", "retina", "immunohistochemistry")


def photographs() -> list[np.ndarray]:
    """uint8 (300, 400, 3) each; those of scikit-image that need no download."""
    found = [load_sample_image(name) for name in ("china.jpg", "flower.jpg")]
    for name in NAMES:
        try:
            found.append(getattr(skimage.data, name)())
        except Exception as error:  # some releases fetch some pictures
            print(f"left out: {name} ({type(error).__name__})")
    return [np.asarray(Image.fromarray(pixels[..., :3]).resize((400, 300))) for pixels in found]


def measure(images: list[np.ndarray], names: list[str]) -> float:
    """Seconds of processor time an image."""
    started = time.process_time()
    for pixels in images:
        image = SegmentedImage(pixels)
        for name in names:
            CUES[name](image)
    return (time.process_time() - started) / len(images)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    images = photographs()
    kinds = {name: [name] for name in CUES} | {"all": list(CUES)}
    with threadpool_limits(1):
        measure(images[:1], list(CUES))
        rounds = [{kind: measure(images, names) for kind, names in kinds.items()} for _ in range(arguments.rounds)]
    rows = {}
    for kind in kinds:
        seconds = [found[kind] for found in rounds]
        median = statistics.median(seconds)
        rows[kind] = {
            "images_per_second": round(1 / median, 2),
            "seconds": {"median": round(median, 3), "least": round(min(seconds), 3), "most": round(max(seconds), 3)},
        }
        print(f"{kind:<20} {1 / median:>7.2f} images/s {median:>8.3f} s ({min(seconds):.3f} to {max(seconds):.3f})")
    hours = IMAGENET * rows["all"]["seconds"]["median"] / 3600
    print(f"all four on ImageNet's {IMAGENET:,} training images: {hours:,.0f} core hours")
    if arguments.json:
        document = {
            "benchmark": "saliency",
            "setting": {"images": len(images), "size": [300, 400], "threads": 1, "time": "of the process"},
            "machine": {"processor": platform.processor() or platform.machine(), "cpus": os.cpu_count()},
            "versions": {name: version(name) for name in ("numpy", "scipy", "scikit-image", "scikit-learn")},
            "rounds": arguments.rounds,
            "rows": rows,
            "imagenet_core_hours": round(hours),
        }
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
