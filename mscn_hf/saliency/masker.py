# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Masks of images by a trained saliency network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from .crf import mean_field
from .cues import to_bytes
from .network import SaliencyNetwork, check_network, load_network, weights_digest

AT_ONCE = 16


@dataclass
class NetworkMasker:
    """A network's saliency maps as column `saliency`.

    Args:
        network: trained; put on its device and into evaluation mode by the caller.
        name: where it comes from, for the notes.
        crf: clean each map by a CRF.
    """

    network: SaliencyNetwork
    name: str
    crf: bool = True

    @property
    def columns(self) -> tuple[str, ...]:
        """The one column."""
        return ("saliency",)

    @property
    def settings(self) -> dict[str, Any]:
        """What the maps depend on."""
        # no path of this machine, but for the run's folder
        name = "/".join(Path(self.name).parts[-2:]) if Path(self.name).is_dir() else self.name
        return {"network": name, "weights": weights_digest(self.network), "crf": self.crf}

    def __call__(self, images: Sequence[np.ndarray]) -> list[dict[str, np.ndarray]]:
        """Maps uint8 (H, W) of images uint8 (H, W, 3), each squeezed into the network's square and back."""
        if not images:
            return []
        side = self.network.config.image_size
        squares = [
            np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR)) for image in images
        ]
        batch = torch.from_numpy(np.stack(squares)).permute(0, 3, 1, 2).to(self.network.device)
        found_BSS = torch.cat([self.network.predict(part) for part in batch.split(AT_ONCE)])
        if self.crf:
            found_BSS = mean_field(found_BSS, batch)
        maps = []
        for image, found_SS in zip(images, found_BSS.cpu().numpy(), strict=True):
            size = (image.shape[1], image.shape[0])
            map_HW = Image.fromarray(to_bytes(found_SS)).resize(size, Image.Resampling.BILINEAR)
            maps.append({"saliency": np.asarray(map_HW)})
        return maps


class CanvasMasker:
    """A network's masks of canvases on their own device, for views that are made there.

    The network is loaded when the first masks are asked for, so that processes that only decode do not hold it.

    Args:
        name: folder or Hub id of a saliency network.

    Raises:
        ValueError, OSError: there is no such network.
    """

    def __init__(self, name: str):
        check_network(name)
        self.name = name
        self._network: SaliencyNetwork | None = None

    @torch.no_grad()
    def __call__(self, canvas_NCHW: Tensor, valid_hw_N2: Tensor) -> Tensor:
        """Masks uint8 (N, 1, S, S), 0 beside the image, of canvases uint8 (N, 3, S, S).

        Args:
            canvas_NCHW: each image in the top-left corner.
            valid_hw_N2: integer, height and width of each image in its canvas.
        """
        if self._network is None:
            self._network = load_network(self.name)
        network = self._network
        network.to(canvas_NCHW.device)  # type: ignore[arg-type]
        side = network.config.image_size
        sizes = [(int(height), int(width)) for height, width in valid_hw_N2.tolist()]
        squares = [
            interpolate(canvas[None, :, :height, :width].float(), (side, side), mode="bilinear", antialias=True)
            for canvas, (height, width) in zip(canvas_NCHW, sizes, strict=True)
        ]
        square_N3SS = torch.cat(squares).round_().to(torch.uint8)
        # a few at a time: this memory comes on top of that of the training step
        found_NSS = torch.cat([network.predict(part) for part in square_N3SS.split(AT_ONCE)])
        masks = torch.zeros_like(canvas_NCHW[:, :1])
        for mask, found_SS, size in zip(masks, found_NSS, sizes, strict=True):
            found_HW = interpolate(found_SS[None, None], size, mode="bilinear", antialias=True)[0, 0]
            mask[0, : size[0], : size[1]] = (found_HW * 255).round_().to(torch.uint8)
        return masks
