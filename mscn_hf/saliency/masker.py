# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Masks of images by a trained saliency network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from .crf import mean_field
from .cues import to_bytes
from .network import SaliencyNetwork


@dataclass
class NetworkMasker:
    """A network's saliency maps as column `saliency`.

    Args:
        network: trained; put on its device and into evaluation mode by the caller.
        name: where it comes from, for the notes.
        crf: clean each map by a CRF.
        column: name of the column.
    """

    network: SaliencyNetwork
    name: str
    crf: bool = True
    column: str = "saliency"

    @property
    def columns(self) -> tuple[str, ...]:
        """The one column."""
        return (self.column,)

    @property
    def settings(self) -> dict[str, Any]:
        """What the maps depend on."""
        return {"network": self.name, "image_size": self.network.config.image_size, "crf": self.crf}

    def __call__(self, images: Sequence[np.ndarray]) -> list[dict[str, np.ndarray]]:
        """Maps uint8 (H, W) of images uint8 (H, W, 3), each squeezed into the network's square and back."""
        if not images:
            return []
        side = self.network.config.image_size
        squares = [
            np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR)) for image in images
        ]
        batch = torch.from_numpy(np.stack(squares)).permute(0, 3, 1, 2).to(self.network.device)
        found_BSS = self.network.predict(batch)
        if self.crf:
            found_BSS = mean_field(found_BSS, batch)
        maps = []
        for image, found_SS in zip(images, found_BSS.cpu().numpy(), strict=True):
            size = (image.shape[1], image.shape[0])
            map_HW = Image.fromarray(to_bytes(found_SS)).resize(size, Image.Resampling.BILINEAR)
            maps.append({self.column: np.asarray(map_HW)})
        return maps
