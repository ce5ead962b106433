# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""MSCN configuration."""

from typing import ClassVar

from huggingface_hub.dataclasses import strict

from .configuration_siamese_resnet import SiameseResNetConfig


@strict
class MSCNConfig(SiameseResNetConfig):
    """Configuration of a masked Siamese ConvNet (Jing et al., 2022): a ResNet that high-passes its own input.

    Takes SiameseResNetConfig's fields; `high_pass_sigma` is 5 pixels unless told otherwise (table 9 of the paper).

    Example:

    ```python
    >>> from mscn_hf.models import MSCNConfig, MSCNModel
    >>> model = MSCNModel(MSCNConfig.resnet(50))
    ```
    """

    model_type = "mscn"
    remote_classes: ClassVar[dict[str, str]] = {
        "AutoConfig": "configuration_mscn.MSCNConfig",
        "AutoModel": "modeling_mscn.MSCNModel",
        "AutoBackbone": "modeling_mscn.MSCNBackbone",
        "AutoModelForImageClassification": "modeling_mscn.MSCNForImageClassification",
    }

    high_pass_sigma: float | int | None = 5.0


MSCNConfig.register_for_auto_class()

__all__ = ["MSCNConfig"]
