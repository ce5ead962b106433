# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""How long making a view takes: this package's batched steps against torchvision v2, one image at a time.

    python benchmarks/bench_views.py [--threads 1] [--rounds 15] [--device cpu] [--json OUT]

All contenders make the same kind of view from the same photographs (the ones inside scikit-image's wheel, shrunk to a
canvas), with their own draws. Runs are interleaved, one of each contender a round; the table gives the median and the
10 % and 90 % quantiles of the time per view over the rounds. Losses are listed like wins.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torchvision
from PIL import Image
from skimage import data
from torchvision.transforms import v2

from mscn_hf.views import Draws, ViewCollator, ViewRecipe, ViewSpec
from mscn_hf.views.resample import crop_by_image, crop_by_matmul, draw_crops

# name: canvas side, batch, view without MSCN's steps, MSCN's steps scaled to the size
CASES = {
    "40 px": (96, 256, ViewSpec(size=40), {"high_pass_sigma": 0.9, "mask_cell": 6, "mask_p": 1.0, "noise_std": 0.12}),
    "48 px": (96, 256, ViewSpec(size=48), {"high_pass_sigma": 1.1, "mask_cell": 7, "mask_p": 1.0, "noise_std": 0.13}),
    "64 px": (96, 256, ViewSpec(size=64), {"high_pass_sigma": 1.4, "mask_cell": 9, "mask_p": 1.0, "noise_std": 0.14}),
    "224 px": (512, 24, ViewSpec(), {"high_pass_sigma": 5.0, "mask_p": 1.0, "noise_std": 0.18}),
}


def photographs(side: int, count: int) -> dict:
    """A batch of canvases: square patches of photographs, each a whole canvas."""
    pictures = [Image.fromarray(picture) for picture in (data.astronaut(), data.chelsea(), data.coffee())]
    rng = np.random.default_rng(0)
    canvas = np.empty((count, side, side, 3), np.uint8)
    for slot in range(count):
        picture = pictures[slot % len(pictures)]
        patch = int(rng.integers(min(picture.size) // 2, min(picture.size) + 1))
        left, top = (int(rng.integers(0, length - patch + 1)) for length in picture.size)
        canvas[slot] = picture.resize((side, side), Image.Resampling.BICUBIC, (left, top, left + patch, top + patch))
    return {
        "canvas": torch.from_numpy(canvas).permute(0, 3, 1, 2),
        "valid_hw": torch.full((count, 2), side, dtype=torch.int32),
        "position": torch.arange(count),
        "epoch": 0,
    }


def torchvision_view(spec: ViewSpec, first: list[Callable], last: list[Callable]) -> v2.Compose:
    """The same view in torchvision v2; `first` turns the stored image into its input, `last` its output to float."""
    return v2.Compose(
        [
            *first,
            v2.RandomResizedCrop(
                spec.size, spec.crop_scale, spec.crop_ratio, v2.InterpolationMode.BICUBIC, antialias=True
            ),
            v2.RandomHorizontalFlip(spec.flip_p),
            v2.RandomApply([v2.ColorJitter(spec.brightness, spec.contrast, spec.saturation, spec.hue)], spec.jitter_p),
            v2.RandomGrayscale(spec.grayscale_p),
            v2.RandomApply([v2.GaussianBlur(spec.blur_taps, spec.blur_sigma)], spec.blur_p),
            *last,
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )


def contenders(side: int, batch: int, spec: ViewSpec, mscn: dict, device: str) -> dict[str, Callable[[], object]]:
    """Name -> a function that makes one view of each image of the batch."""
    photos = photographs(side, batch)
    photos["canvas"] = photos["canvas"].to(device)
    canvas = photos["canvas"]
    plain = ViewCollator(ViewRecipe({"view": spec}), seed=0)
    masked = ViewCollator(ViewRecipe({"view": replace(spec, **mscn)}), seed=0)
    crops = draw_crops(Draws(0, 0, photos["position"]), 0, spec, photos["valid_hw"])
    runs: dict[str, Callable[[], object]] = {
        "ours: SimCLR view": lambda: plain.make_views(photos),
        "ours: MSCN view (filter, masks, noise)": lambda: masked.make_views(photos),
        "ours: crop+resize+flip alone, by image": lambda: crop_by_image(canvas, crops, spec.size),
        "ours: crop+resize+flip alone, by matmul": lambda: crop_by_matmul(canvas, crops, spec.size),
    }
    uint8 = torchvision_view(spec, [], [])
    runs["torchvision v2: SimCLR view, uint8 tensors"] = lambda: torch.stack([uint8(image) for image in canvas])
    if device == "cpu":
        pictures = [Image.fromarray(image.permute(1, 2, 0).contiguous().numpy()) for image in canvas]
        from_pil = torchvision_view(spec, [], [v2.ToImage()])
        runs["torchvision v2: SimCLR view, PIL images"] = lambda: torch.stack(
            [from_pil(picture) for picture in pictures]
        )
    return runs


def measure(runs: dict[str, Callable[[], object]], rounds: int, device: str) -> dict[str, list[float]]:
    """Seconds of each run, interleaved: one of each contender per round, after one round to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if device == "cuda":
                torch.cuda.synchronize()
            if number:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1, help="threads of torch on CPU")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)

    rows = []
    for case in arguments.cases:
        side, batch, spec, mscn = CASES[case]
        for name, seconds in measure(
            contenders(side, batch, spec, mscn, arguments.device), arguments.rounds, arguments.device
        ).items():
            milliseconds = [1000 * second / batch for second in seconds]
            deciles = statistics.quantiles(milliseconds, n=10, method="inclusive")
            rows.append(
                {
                    "case": case,
                    "canvas": side,
                    "batch": batch,
                    "contender": name,
                    "median_ms_per_view": round(statistics.median(milliseconds), 4),
                    "p10": round(deciles[0], 4),
                    "p90": round(deciles[-1], 4),
                }
            )
    print(f"{'case':8}{'contender':46}{'ms/view':>9}{'p10':>9}{'p90':>9}")
    for row in rows:
        print(
            f"{row['case']:8}{row['contender']:46}{row['median_ms_per_view']:9.3f}{row['p10']:9.3f}{row['p90']:9.3f}"
        )
    if arguments.json:
        document = {
            "benchmark": "views",
            "threads": arguments.threads,
            "rounds": arguments.rounds,
            "device": torch.cuda.get_device_name() if arguments.device == "cuda" else _processor(),
            "versions": {
                "python": platform.python_version(),
                "torch": torch.__version__,
                "torchvision": torchvision.__version__,
            },
            "results": rows,
        }
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(document, indent=1) + "\n")


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
