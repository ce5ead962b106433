# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""From one undecoded row to the pictures that are scored: corrupted copies, or the picture without its border."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image
from torch.utils.data import Dataset

from mscn_hf.data.decode import BrokenImage, decode_image

from ..encoder import FrozenEncoder, PreprocessFn
from ..loading import ProcessorCall, TimmTransform
from ..reading import NumberedRow
from .corruptions import CORRUPTIONS, corrupt
from .digital import through_jpeg

# (picture, position of its row) -> its copies; runs in DataLoader workers, so it must pickle.
CopiesFn = Callable[[np.ndarray, int], list[Image.Image]]

# A picture longer than this many times its shorter side is cut to its middle first, of which a square is kept anyway.
LONGEST_SIDE_RATIO = 2


@dataclass
class CorruptedCopies:
    """The clean picture, then a copy for each corruption and severity, in that order.

    As the benchmark does: shorter side to `resize` (bilinear, antialiased), the middle `crop` x `crop` taken,
    corrupted, and saved as a JPEG. The draws depend on the seed, the row's position, the corruption and the severity
    alone.

    Args:
        names: keys of `CORRUPTIONS`.
        severities: of 1..5.
        resize, crop: in pixels; both None: the picture's own size.
        jpeg_quality: of the file that the benchmark keeps, or None: no file.
        seed: of the draws.
    """

    names: Sequence[str]
    severities: Sequence[int]
    resize: int | None
    crop: int | None
    jpeg_quality: int | None
    seed: int

    def __call__(self, image_HWC: np.ndarray, position: int) -> list[Image.Image]:
        picture = Image.fromarray(image_HWC)
        if self.resize is not None and self.crop is not None:
            picture = middle(picture, self.resize, self.crop)
        clean_HWC = np.asarray(picture)
        copies = [picture]
        order = list(CORRUPTIONS)
        for name in self.names:
            for severity in self.severities:
                draws = [self.seed, position, order.index(name), severity]
                made = Image.fromarray(corrupt(clean_HWC, name, severity, draws))
                copies.append(made if self.jpeg_quality is None else through_jpeg(made, self.jpeg_quality))
        return copies


@dataclass
class WithoutBorder:
    """The picture with `border` pixels cut from each side (ObjectNet's have a red frame of two)."""

    border: int = 0

    def __call__(self, image_HWC: np.ndarray, position: int) -> list[Image.Image]:
        cut = self.border
        if cut and min(image_HWC.shape[:2]) > 2 * cut:
            image_HWC = image_HWC[cut:-cut, cut:-cut]
        return [Image.fromarray(np.ascontiguousarray(image_HWC))]


def middle(picture: Image.Image, resize: int, crop: int) -> Image.Image:
    """Shorter side to `resize`, then the middle `crop` x `crop`."""
    width, height = picture.size
    longest = LONGEST_SIDE_RATIO * min(width, height)
    if max(width, height) > longest:
        left, top = max(0, (width - longest) // 2), max(0, (height - longest) // 2)
        picture = picture.crop((left, top, min(width, left + longest), min(height, top + longest)))
        width, height = picture.size
    shorter = min(width, height)
    size = (int(resize * width / shorter), int(resize * height / shorter))
    picture = picture.resize(size, Image.Resampling.BILINEAR)
    left, top = round((size[0] - crop) / 2), round((size[1] - crop) / 2)
    return picture.crop((left, top, left + crop, top + crop))


def without_margin(encoder: FrozenEncoder) -> tuple[PreprocessFn, bool]:
    """The encoder's preprocessing for pictures that are cropped already: no margin is cut away once more.

    Returns:
        the preprocessing, and whether it had a margin to leave out (a shorter side that is larger than the crop).
    """
    preprocess = encoder.preprocess
    if isinstance(preprocess, ProcessorCall):
        processor = copy.deepcopy(preprocess.processor)
        size, crop = _get(processor, "size"), _get(processor, "crop_size")
        square = crop and crop.get("height") == crop.get("width")
        if _get(processor, "do_center_crop") and square and size and size.get("shortest_edge", 0) > crop["height"]:
            processor.size = {"shortest_edge": crop["height"]}
            return ProcessorCall(processor), True
    elif isinstance(preprocess, TimmTransform):
        import timm

        settings = timm.data.resolve_model_data_config(encoder.model)
        if settings.get("crop_mode", "center") == "center" and settings.get("crop_pct", 1.0) != 1.0:
            settings["crop_pct"] = 1.0
            return TimmTransform(timm.data.create_transform(**settings, is_training=False)), True
    return preprocess, False


def _get(processor: Any, name: str) -> Any:
    value = processor.to_dict().get(name)
    return dict(value) if hasattr(value, "items") else value


class CopyingPreprocessor(Dataset):
    """Worker half: undecoded rows -> their copies, preprocessed, one after the other."""

    def __init__(self, preprocess: PreprocessFn, copies: CopiesFn) -> None:
        self.preprocess, self.copies = preprocess, copies

    def __getitems__(self, rows: list[NumberedRow]) -> dict[str, Any]:
        pictures: list[Image.Image] = []
        good, skipped = [], []
        for position, row in rows:
            try:
                image_HWC = decode_image(row.read())
            except BrokenImage as error:
                skipped.append((row.id, str(error)))
                continue
            pictures.extend(self.copies(image_HWC, position))
            good.append((position, row.id, row.label))
        return {"images": self.preprocess(pictures) if pictures else None, "good": good, "skipped": skipped}

    def __getitem__(self, index: Any) -> Any:
        return self.__getitems__([index])
