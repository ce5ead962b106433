# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""MSCN, ReLICv2 and filtered networks, known to transformers' Auto classes once this package is imported."""

from transformers import AutoBackbone, AutoConfig, AutoModel, AutoModelForImageClassification

from .backbone_weights import load_backbone_weights
from .configuration_filtered import FilteredConfig
from .configuration_mscn import MSCNConfig
from .configuration_relicv2 import ReLICv2Config
from .filtered import (
    FilteredBackbone,
    FilteredForImageClassification,
    FilteredModel,
    FilteredPreTrainedModel,
)
from .high_pass import HighPassFilter, high_pass, high_pass_kernel
from .modeling_mscn import MSCNBackbone, MSCNForImageClassification, MSCNModel, MSCNPreTrainedModel
from .modeling_relicv2 import ReLICv2Backbone, ReLICv2ForImageClassification, ReLICv2Model, ReLICv2PreTrainedModel

for _config, _model, _backbone, _classifier in (
    (MSCNConfig, MSCNModel, MSCNBackbone, MSCNForImageClassification),
    (ReLICv2Config, ReLICv2Model, ReLICv2Backbone, ReLICv2ForImageClassification),
    (FilteredConfig, FilteredModel, FilteredBackbone, FilteredForImageClassification),
):
    # exist_ok: the same model type may have come as remote code before this package was imported.
    AutoConfig.register(_config.model_type, _config, exist_ok=True)
    AutoModel.register(_config, _model, exist_ok=True)
    AutoBackbone.register(_config, _backbone, exist_ok=True)
    AutoModelForImageClassification.register(_config, _classifier, exist_ok=True)

__all__ = [
    "FilteredBackbone",
    "FilteredConfig",
    "FilteredForImageClassification",
    "FilteredModel",
    "FilteredPreTrainedModel",
    "HighPassFilter",
    "MSCNBackbone",
    "MSCNConfig",
    "MSCNForImageClassification",
    "MSCNModel",
    "MSCNPreTrainedModel",
    "ReLICv2Backbone",
    "ReLICv2Config",
    "ReLICv2ForImageClassification",
    "ReLICv2Model",
    "ReLICv2PreTrainedModel",
    "high_pass",
    "high_pass_kernel",
    "load_backbone_weights",
]
