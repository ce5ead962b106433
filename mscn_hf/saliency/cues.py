# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""The handcrafted cues of one image: each map, and their mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

import numpy as np
from PIL import Image

from .dense_sparse import DenseSparse
from .frame import find_frame
from .manifold_ranking import ManifoldRanking
from .markov_chain import MarkovChain
from .robust_background import RobustBackground
from .superpixels import SegmentedImage, minmax

Cue = Callable[[SegmentedImage], np.ndarray]
# 200 superpixels are what the source takes of such a photograph; it shares them with manifold ranking, and a small
# image keeps enough of them.
_ALL = (RobustBackground(superpixels=200), ManifoldRanking(), DenseSparse(), MarkovChain())
CUES: dict[str, Cue] = {cue.name: cue for cue in _ALL}
# The cues' constants are made for the photographs of MSRA-B, 400 x 300 pixels.
LONG_SIDE = 400


def cue_maps(
    rgb_HW3: np.ndarray, names: Sequence[str] = tuple(CUES), long_side: int | None = LONG_SIDE
) -> dict[str, np.ndarray]:
    """Saliency by each cue, uint8 (H, W) from 0 to 255; all 0 where nothing stands out.

    A frame or letterbox around the picture is background, and no cue sees it.

    Args:
        rgb_HW3: uint8.
        names: of `CUES`.
        long_side: an image with a longer side is shrunk to it first, and its maps enlarged again; None: never.
    """
    height, width = rgb_HW3.shape[:2]
    inner = find_frame(rgb_HW3)
    picture = Image.fromarray(rgb_HW3[inner])
    if long_side is not None and max(picture.size) > long_side:
        scale = long_side / max(picture.size)
        small = picture.resize([max(1, round(side * scale)) for side in picture.size], Image.Resampling.BOX)
    else:
        small = picture
    image = SegmentedImage(np.asarray(small))
    maps = {}
    for name in names:
        map_hw = Image.fromarray(to_bytes(CUES[name](image)))
        if map_hw.size != picture.size:
            map_hw = map_hw.resize(picture.size, Image.Resampling.BILINEAR)
        maps[name] = np.zeros((height, width), dtype=np.uint8)
        maps[name][inner] = np.asarray(map_hw)
    return maps


def fuse(maps: Sequence[np.ndarray]) -> np.ndarray:
    """The mean of maps, stretched to 0 to 255, uint8 (H, W)."""
    return to_bytes(minmax(np.mean([map_HW.astype(np.float64) for map_HW in maps], axis=0)))


def to_bytes(map_HW: np.ndarray) -> np.ndarray:
    """[0, 1] to uint8."""
    return np.round(np.clip(map_HW, 0, 1) * 255).astype(np.uint8)


@dataclass
class CueMasker:
    """The cues' maps of images, several processes at a time; a column for each cue, and `saliency`, their mean.

    Args:
        names: of `CUES`.
        workers: processes beside this one; 0: none.
        long_side: see `cue_maps`.
    """

    names: Sequence[str] = tuple(CUES)
    workers: int = 0
    long_side: int | None = LONG_SIDE

    def __post_init__(self) -> None:
        unknown = [name for name in self.names if name not in CUES]
        if unknown or not self.names:
            raise ValueError(f"cues must be some of {', '.join(CUES)}, got {', '.join(self.names) or 'none'}")
        if len(set(self.names)) != len(self.names):
            raise ValueError(f"cues name one twice: {', '.join(self.names)}")
        if self.long_side is not None and self.long_side < 1:
            raise ValueError(f"long_side must be at least 1, got {self.long_side}")
        # Fresh processes: a fork of one that runs threads may wait for a lock that nobody holds any more.
        context = get_context("forkserver")
        self._pool = ProcessPoolExecutor(self.workers, context, _one_thread) if self.workers else None

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the maps made of an image, the one to use as its mask first."""
        return ("saliency", *self.names)

    @property
    def settings(self) -> dict[str, Any]:
        """What the maps depend on."""
        return {"cues": {name: repr(CUES[name]) for name in self.names}, "long_side": self.long_side}

    def __call__(self, images: Sequence[np.ndarray]) -> list[dict[str, np.ndarray]]:
        """Maps of each image (H, W, 3), uint8 (H, W) by column."""
        jobs = [(image, tuple(self.names), self.long_side) for image in images]
        return list(self._pool.map(_mask, jobs) if self._pool else map(_mask, jobs))

    def close(self) -> None:
        """Ends the processes."""
        if self._pool:
            self._pool.shutdown(cancel_futures=True)


def _mask(job: tuple[np.ndarray, tuple[str, ...], int | None]) -> dict[str, np.ndarray]:
    maps = cue_maps(*job)
    return {"saliency": fuse(list(maps.values())), **maps}


def _one_thread() -> None:
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)
