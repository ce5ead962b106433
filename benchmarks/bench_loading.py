# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""How fast images reach the network, and how soon a resumed run sees its first new batch.

    python benchmarks/bench_loading.py [--images 512] [--workers 1] [--rounds 5] [--json OUT]

Contenders read the same JPEGs (crops of the photographs inside scikit-image's wheel at about 500 x 375), through the
same number of worker processes, and end with two 224-px SimCLR views of each image as float tensors:

- ours: Parquet, workers decode to 512-px canvases, views are made in batches;
- torchvision: an image folder, PIL, both views one image at a time in the workers.

Resuming: seconds until the first batch after 90 % of a pass. Ours enters the pass there; the usual way (a Trainer
without this loader) reads and decodes every batch before it.
"""

import argparse
import io
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from itertools import islice
from pathlib import Path

import datasets
import numpy as np
import torch
import torchvision
from PIL import Image
from skimage import data
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from mscn_hf.data import CanvasCollate, ExactLoader, Share, open_order, open_source
from mscn_hf.views import ViewCollator, ViewRecipe

BATCH = 32


def write_images(folder: Path, count: int) -> None:
    """The same JPEGs as an image folder and as Parquet."""
    rng = np.random.default_rng(0)
    pictures = [Image.fromarray(p) for p in (data.astronaut(), data.coffee(), data.rocket(), data.chelsea())]
    (folder / "jpeg" / "0").mkdir(parents=True)
    rows = []
    for number in range(count):
        picture = pictures[number % len(pictures)]
        width = int(rng.integers(250, picture.width + 1))
        height = min(picture.height, width * 3 // 4)
        left, top = int(rng.integers(0, picture.width - width + 1)), int(rng.integers(0, picture.height - height + 1))
        out = io.BytesIO()
        picture.crop((left, top, left + width, top + height)).resize((500, 375)).save(out, "JPEG", quality=90)
        (folder / "jpeg" / "0" / f"{number:05d}.jpg").write_bytes(out.getvalue())
        rows.append({"image": {"bytes": out.getvalue(), "path": f"{number}.jpg"}, "label": 0})
    (folder / "parquet").mkdir()
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    table = datasets.Dataset.from_list(rows, features=features)
    table.to_parquet(str(folder / "parquet" / "train.parquet"), batch_size=100)


class TwoViews:
    """Two draws of SimCLR's augmentation for one PIL image."""

    def __init__(self) -> None:
        self.make = v2.Compose(
            [
                v2.RandomResizedCrop(224, interpolation=v2.InterpolationMode.BICUBIC),
                v2.RandomHorizontalFlip(),
                v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.2, 0.1)], 0.8),
                v2.RandomGrayscale(0.2),
                v2.RandomApply([v2.GaussianBlur(23, (0.1, 2.0))], 0.5),
                v2.PILToTensor(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
            ]
        )

    def __call__(self, image: Image.Image) -> tuple[torch.Tensor, torch.Tensor]:
        return self.make(image), self.make(image)


def our_loader(folder: Path, workers: int) -> tuple[ExactLoader, ViewCollator]:
    order = open_order(open_source(str(folder / "parquet")), Share(0, batch_size=BATCH))
    collator = ViewCollator(ViewRecipe({"a": {}, "b": {}}), 0, CanvasCollate(512))
    return ExactLoader(order, collator, BATCH, num_workers=workers), collator


def torchvision_loader(folder: Path, workers: int) -> DataLoader:
    dataset = torchvision.datasets.ImageFolder(str(folder / "jpeg"), TwoViews())
    return DataLoader(dataset, BATCH, shuffle=True, num_workers=workers, drop_last=True)


def pass_with_ours(folder: Path, workers: int) -> int:
    loader, collator = our_loader(folder, workers)
    return sum(len(collator.make_views(batch)[0]) for batch in loader)


def pass_with_torchvision(folder: Path, workers: int) -> int:
    return sum(len(views[0]) for views, _ in torchvision_loader(folder, workers))


def resume_with_ours(folder: Path, workers: int) -> int:
    loader, collator = our_loader(folder, workers)
    loader.seek(len(loader) * 9 // 10)
    return len(collator.make_views(next(iter(loader)))[0])


def resume_with_torchvision(folder: Path, workers: int) -> int:
    loader = torchvision_loader(folder, workers)
    views, _ = next(islice(loader, len(loader) * 9 // 10, None))
    return len(views[0])


def timed(run: Callable[[Path, int], int], folder: Path, workers: int) -> tuple[float, int]:
    start = time.perf_counter()
    images = run(folder, workers)
    return time.perf_counter() - start, images


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    datasets.disable_progress_bars()
    runs = {
        "pass, ours": pass_with_ours,
        "pass, torchvision": pass_with_torchvision,
        "resume at 90 %, ours": resume_with_ours,
        "resume at 90 %, torchvision": resume_with_torchvision,
    }
    with tempfile.TemporaryDirectory() as name:
        write_images(Path(name), arguments.images)
        seconds: dict[str, list[float]] = {key: [] for key in runs}
        images: dict[str, int] = {}
        for round_number in range(arguments.rounds + 1):
            for key, run in runs.items():
                taken, images[key] = timed(run, Path(name), arguments.workers)
                if round_number:  # the first is a warm-up
                    seconds[key].append(taken)
    figures = {}
    for key, values in seconds.items():
        middle = statistics.median(values)
        figures[key] = {"median_s": middle, "min_s": min(values), "max_s": max(values)}
        rate = f", {images[key] / middle:7.1f} images/s" if key.startswith("pass") else ""
        print(f"{key:<28} {middle:7.2f} s  ({min(values):.2f} to {max(values):.2f}){rate}")
    for what in ("pass", "resume at 90 %"):
        ratio = figures[f"{what}, torchvision"]["median_s"] / figures[f"{what}, ours"]["median_s"]
        print(f"{what}: torchvision takes {ratio:.2f} times as long")
    if arguments.json:
        document = {
            "what": __doc__.split("\n")[0],
            "images": arguments.images,
            "workers": arguments.workers,
            "rounds": arguments.rounds,
            "machine": {"processor": platform.processor() or platform.machine(), "cpus": os.cpu_count()},
            "versions": {p: version(p) for p in ("torch", "torchvision", "pillow", "simplejpeg", "datasets")},
            "seconds": figures,
        }
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
