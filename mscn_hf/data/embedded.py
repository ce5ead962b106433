# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""The dataset that needs no download: patches of photographs inside scikit-image's and scikit-learn's wheels.

Nine photographs are nine classes. Training patches come from the left 55 % of each photograph and test patches from
the right 40 %, so no pixel is in both. Patches vary in scale; plain ones (sky, black) are passed over, since nothing
but a colour could tell them apart. Nothing is copied into this project: the Parquet files
are cut on first use into the cache folder (`MSCN_HF_CACHE`, or `~/.cache/mscn_hf`).
"""

import io
import os
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np
from PIL import Image as PILImage
from PIL.Image import Resampling

PATCH_PIXELS = 56
_SHORT_SIDE = 384  # photographs are brought to this size first, so that a patch shows a comparable share of each
_LARGEST_PATCH = 112
_LEAST_TEXTURE = 12.0  # standard deviation of grey levels; below it another place is tried
_TRIES = 30
_SHARES = {"train": (0.0, 0.55), "test": (0.60, 1.0)}
_COUNTS = {"train": 6000, "test": 2000}
_SHARDS = {"train": 4, "test": 1}


def cache_folder() -> Path:
    """Where derived files are kept: `MSCN_HF_CACHE`, else `$XDG_CACHE_HOME/mscn_hf`, else `~/.cache/mscn_hf`."""
    own = os.environ.get("MSCN_HF_CACHE")
    return Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mscn_hf"


def photographs() -> dict[str, np.ndarray]:
    """The photographs by name, uint8 (H, W, 3).

    Licences as the wheels state them: CC0, public domain or no known restrictions (scikit-image); CC-BY 2.0
    (scikit-learn's china and flower).
    """
    from skimage import data
    from sklearn.datasets import load_sample_image

    return {
        "astronaut": data.astronaut(),
        "chelsea": data.chelsea(),
        "coffee": data.coffee(),
        "rocket": data.rocket(),
        "retina": data.retina(),
        "tissue": data.immunohistochemistry(),
        "hubble": data.hubble_deep_field(),
        "china": load_sample_image("china.jpg"),
        "flower": load_sample_image("flower.jpg"),
    }


def embedded_dataset() -> Path:
    """Folder of the embedded dataset, laid out like a Hub dataset repository; made on first use."""
    versions = f"skimage{version('scikit-image')}-sklearn{version('scikit-learn')}"
    folder = cache_folder() / f"embedded-v2-{versions}"
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(dir=folder.parent))
        _write(building / "data")
        try:
            os.rename(building, folder)
        except OSError:  # another process was first
            shutil.rmtree(building, ignore_errors=True)
    return folder


def _write(folder: Path) -> None:
    from datasets import ClassLabel, Dataset, Features, Image

    folder.mkdir()
    photos = {name: _scaled(pixels) for name, pixels in photographs().items()}
    features = Features({"image": Image(), "label": ClassLabel(names=list(photos))})
    for number, (split, total) in enumerate(_COUNTS.items()):
        random = np.random.default_rng([2026, number])
        labels = np.arange(total) % len(photos)
        names = list(photos)
        rows = [
            {
                "image": {"bytes": _patch(photos[names[k]], _SHARES[split], random), "path": f"{names[k]}-{n}.jpg"},
                "label": int(k),
            }
            for n, k in enumerate(random.permutation(labels))
        ]
        shards = _SHARDS[split]
        for shard in range(shards):
            part = Dataset.from_list(rows[shard::shards], features=features)
            part.to_parquet(str(folder / f"{split}-{shard:05d}-of-{shards:05d}.parquet"))


def _scaled(pixels: np.ndarray) -> PILImage.Image:
    image = PILImage.fromarray(pixels[..., :3]).convert("RGB")
    factor = _SHORT_SIDE / min(image.size)
    return image.resize((round(image.width * factor), round(image.height * factor)), Resampling.LANCZOS)


def _patch(photo: PILImage.Image, share: tuple[float, float], random: np.random.Generator) -> bytes:
    left, right = round(photo.width * share[0]), round(photo.width * share[1])
    best, most = None, -1.0
    for _ in range(_TRIES):
        side = int(random.integers(PATCH_PIXELS, min(_LARGEST_PATCH, right - left, photo.height) + 1))
        x = int(random.integers(left, right - side + 1))
        y = int(random.integers(0, photo.height - side + 1))
        patch = photo.crop((x, y, x + side, y + side)).resize((PATCH_PIXELS, PATCH_PIXELS), Resampling.BICUBIC)
        texture = float(np.asarray(patch.convert("L")).std())
        if texture > most:
            best, most = patch, texture
        if texture >= _LEAST_TEXTURE:
            break
    assert best is not None
    out = io.BytesIO()
    best.save(out, "JPEG", quality=90)
    return out.getvalue()
