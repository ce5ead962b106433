# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""ReLICv2 encoders: a ResNet, its pyramid of features for detectors, and a classifier."""

from .configuration_relicv2 import ReLICv2Config
from .siamese_resnet import (
    SiameseResNetBackbone,
    SiameseResNetForImageClassification,
    SiameseResNetModel,
    SiameseResNetPreTrainedModel,
)


class ReLICv2PreTrainedModel(SiameseResNetPreTrainedModel):
    """What the ReLICv2 networks share: configuration, weight initialisation, saving."""

    config: ReLICv2Config


class ReLICv2Model(ReLICv2PreTrainedModel, SiameseResNetModel):
    """ReLICv2 encoder. It filters its input only if `config.high_pass_sigma` is set."""


class ReLICv2Backbone(ReLICv2PreTrainedModel, SiameseResNetBackbone):
    """ReLICv2 encoder as the backbone of a detector or segmenter: feature maps of `config.out_features`."""


class ReLICv2ForImageClassification(ReLICv2PreTrainedModel, SiameseResNetForImageClassification):
    """ReLICv2 encoder with a linear classifier of `config.num_labels` classes on its pooled features."""

    encoder_class = ReLICv2Model


ReLICv2Model.register_for_auto_class("AutoModel")
ReLICv2Backbone.register_for_auto_class("AutoBackbone")
ReLICv2ForImageClassification.register_for_auto_class("AutoModelForImageClassification")

__all__ = ["ReLICv2Backbone", "ReLICv2ForImageClassification", "ReLICv2Model", "ReLICv2PreTrainedModel"]
