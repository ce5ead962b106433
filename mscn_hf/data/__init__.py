# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""From a dataset's name to batches of uint8 canvases in an exact, resumable order."""

from .canvas import CanvasCollate
from .columns import SourceError
from .decode import BrokenImage, decode_image
from .loader import ExactLoader
from .source import ImageRow, ImageSource, open_source
from .stream import Order, Sample, Share, open_order

__all__ = [
    "BrokenImage",
    "CanvasCollate",
    "ExactLoader",
    "ImageRow",
    "ImageSource",
    "Order",
    "Sample",
    "Share",
    "SourceError",
    "decode_image",
    "open_order",
    "open_source",
]
