# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""ReLICv2 configuration."""

from typing import ClassVar

from huggingface_hub.dataclasses import strict

from .configuration_siamese_resnet import SiameseResNetConfig


@strict
class ReLICv2Config(SiameseResNetConfig):
    """Configuration of a ReLICv2 encoder (Tomasev et al., 2022): a ResNet without an input filter.

    Takes SiameseResNetConfig's fields. The weights that DeepMind published were learnt in Haiku and need
    `padding="same"`.

    Example:

    ```python
    >>> from mscn_hf.models import ReLICv2Config, ReLICv2Model
    >>> model = ReLICv2Model(ReLICv2Config.resnet(50, width=2, padding="same"))
    ```
    """

    model_type = "relicv2"
    remote_classes: ClassVar[dict[str, str]] = {
        "AutoConfig": "configuration_relicv2.ReLICv2Config",
        "AutoModel": "modeling_relicv2.ReLICv2Model",
        "AutoBackbone": "modeling_relicv2.ReLICv2Backbone",
        "AutoModelForImageClassification": "modeling_relicv2.ReLICv2ForImageClassification",
    }


ReLICv2Config.register_for_auto_class()

__all__ = ["ReLICv2Config"]
