# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Pre-training methods: what turns an encoder and views into a loss."""

from mscn_hf.methods.configuration import MSCN_FIELDS, RELICV2_FIELDS, SiameseConfig
from mscn_hf.methods.objectives import OBJECTIVES
from mscn_hf.methods.siamese import MSCNForPreTraining, ReLICv2ForPreTraining, SiameseForPreTraining, SiameseOutput

__all__ = [
    "MSCN_FIELDS",
    "OBJECTIVES",
    "RELICV2_FIELDS",
    "MSCNForPreTraining",
    "ReLICv2ForPreTraining",
    "SiameseConfig",
    "SiameseForPreTraining",
    "SiameseOutput",
]
