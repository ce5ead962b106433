# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""MSCN encoders: a ResNet, its pyramid of features for detectors, and a classifier."""

from .configuration_mscn import MSCNConfig
from .siamese_resnet import (
    SiameseResNetBackbone,
    SiameseResNetForImageClassification,
    SiameseResNetModel,
    SiameseResNetPreTrainedModel,
)


class MSCNPreTrainedModel(SiameseResNetPreTrainedModel):
    """What the MSCN networks share: configuration, weight initialisation, saving."""

    config: MSCNConfig


class MSCNModel(MSCNPreTrainedModel, SiameseResNetModel):
    """MSCN encoder. It high-passes its input unless called with `apply_filter=False`."""


class MSCNBackbone(MSCNPreTrainedModel, SiameseResNetBackbone):
    """MSCN encoder as the backbone of a detector or segmenter: feature maps of `config.out_features`."""


class MSCNForImageClassification(MSCNPreTrainedModel, SiameseResNetForImageClassification):
    """MSCN encoder with a linear classifier of `config.num_labels` classes on its pooled features."""

    encoder_class = MSCNModel


MSCNModel.register_for_auto_class("AutoModel")
MSCNBackbone.register_for_auto_class("AutoBackbone")
MSCNForImageClassification.register_for_auto_class("AutoModelForImageClassification")

__all__ = ["MSCNBackbone", "MSCNForImageClassification", "MSCNModel", "MSCNPreTrainedModel"]
