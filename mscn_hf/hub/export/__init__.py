# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Published models in the formats of timm, torchvision, detectron2, plain transformers and ONNX."""

from .capability import TARGETS
from .exporting import Export, export_model
from .source import ExportError

__all__ = ["TARGETS", "Export", "ExportError", "export_model"]
