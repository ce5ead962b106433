# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""The ResNet that MSCN and ReLICv2 share: transformers' layers and state-dict keys, own stem, padding and filter."""

import os
from typing import ClassVar

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import (
    BackboneOutput,
    BaseModelOutputWithPoolingAndNoAttention,
    ImageClassifierOutputWithNoAttention,
)
from transformers.models.resnet.modeling_resnet import (
    ResNetBackbone,
    ResNetConvLayer,
    ResNetEmbeddings,
    ResNetEncoder,
    ResNetForImageClassification,
    ResNetModel,
    ResNetPreTrainedModel,
)

from .configuration_siamese_resnet import SiameseResNetConfig
from .high_pass import HighPassFilter
from .same_padding import use_same_padding


class SiameseResNetEmbeddings(ResNetEmbeddings):
    """The stem: images (B, C, H, W) to (B, embedding_size, H/4, W/4), or (…, H, W) for the small stem."""

    def __init__(self, config: SiameseResNetConfig):
        super().__init__(config)
        if config.stem == "small":
            self.embedder = ResNetConvLayer(
                config.num_channels, config.embedding_size, kernel_size=3, stride=1, activation=config.hidden_act
            )
            self.pooler = nn.Identity()  # type: ignore[assignment]
        if config.padding == "same":
            use_same_padding(self)

    def forward(self, pixel_values: Tensor) -> Tensor:
        if pixel_values.ndim != 4 or pixel_values.shape[1] != self.num_channels:
            raise ValueError(
                f"this encoder takes images of shape (batch, {self.num_channels}, height, width), "
                f"got {tuple(pixel_values.shape)}"
            )
        return super().forward(pixel_values)


class SiameseResNetEncoder(ResNetEncoder):
    """The stages after the stem."""

    def __init__(self, config: SiameseResNetConfig):
        super().__init__(config)
        if config.padding == "same":
            use_same_padding(self)


def input_filter(config: SiameseResNetConfig) -> nn.Module:
    """The high-pass filter in front of the stem, or the identity where the configuration asks for none."""
    return nn.Identity() if config.high_pass_sigma is None else HighPassFilter(config.high_pass_sigma)


class SiameseResNetPreTrainedModel(ResNetPreTrainedModel):
    """Weight initialisation is ResNet's; saving writes everything that loading elsewhere needs."""

    config: SiameseResNetConfig
    # The classifier's loss is a mean over the micro-batch; Trainer then divides by the accumulation steps.
    accepts_loss_kwargs = False

    def save_pretrained(self, save_directory: str | os.PathLike, *args, **kwargs) -> None:
        """Write weights (safetensors), config.json, preprocessor_config.json and the modelling files.

        config.json's auto_map names every head, so that each Auto class loads the folder with
        `trust_remote_code=True` where this package is not installed. Arguments are PreTrainedModel's.
        """
        if self.config.remote_classes:
            self.config.auto_map = dict(self.config.remote_classes)
        super().save_pretrained(save_directory, *args, **kwargs)


class SiameseResNetModel(SiameseResNetPreTrainedModel, ResNetModel):
    """Images to feature maps and pooled features."""

    def __init__(self, config: SiameseResNetConfig):
        # Past ResNetModel.__init__, which would build and initialise the plain stem and stages first.
        super(ResNetModel, self).__init__(config)
        self.high_pass = input_filter(config)
        self.embedder = SiameseResNetEmbeddings(config)
        self.encoder = SiameseResNetEncoder(config)
        self.pooler = nn.AdaptiveAvgPool2d((1, 1))
        self.post_init()

    def forward(
        self,
        pixel_values: Tensor,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        apply_filter: bool = True,
        **kwargs,
    ) -> BaseModelOutputWithPoolingAndNoAttention:
        """Encode normalised images.

        Args:
            pixel_values: images (B, C, H, W), normalised by the configuration's mean and std.
            output_hidden_states: also return the outputs of the stem and of every stage.
            return_dict: False for a plain tuple.
            apply_filter: False if the images have been high-passed already, as in pre-training.

        Returns:
            last_hidden_state (B, C, h, w), pooler_output (B, C, 1, 1) and, if asked for, hidden_states.
        """
        if apply_filter:
            pixel_values = self.high_pass(pixel_values)
        return super().forward(pixel_values, output_hidden_states=output_hidden_states, return_dict=return_dict)


class SiameseResNetBackbone(SiameseResNetPreTrainedModel, ResNetBackbone):
    """Images to the feature maps of the stages in `config.out_features`, for detectors and segmenters."""

    def __init__(self, config: SiameseResNetConfig):
        # Past ResNetBackbone.__init__, for the reason given above.
        super(ResNetBackbone, self).__init__(config)
        self.num_features = [config.embedding_size, *config.hidden_sizes]
        self.high_pass = input_filter(config)
        self.embedder = SiameseResNetEmbeddings(config)
        self.encoder = SiameseResNetEncoder(config)
        self.post_init()

    def forward(  # type: ignore[override]
        self,
        pixel_values: Tensor,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        apply_filter: bool = True,
        **kwargs,
    ) -> BackboneOutput:
        """Feature maps of normalised images (B, C, H, W); arguments as in the model's forward.

        Returns:
            feature_maps, one (B, channels, h, w) for each of `config.out_features`, and hidden_states if asked for.
        """
        if apply_filter:
            pixel_values = self.high_pass(pixel_values)
        if output_hidden_states is None:
            output_hidden_states = self.config.output_hidden_states
        return super().forward(pixel_values, output_hidden_states=output_hidden_states, return_dict=return_dict)


class SiameseResNetForImageClassification(SiameseResNetPreTrainedModel, ResNetForImageClassification):
    """Images to class scores: the encoder and one linear layer."""

    encoder_class: ClassVar[type[SiameseResNetModel]] = SiameseResNetModel

    def __init__(self, config: SiameseResNetConfig):
        # Past ResNetForImageClassification.__init__, which would build a plain ResNet.
        super(ResNetForImageClassification, self).__init__(config)
        self.num_labels = config.num_labels
        self.resnet = self.encoder_class(config)
        head = nn.Linear(config.hidden_sizes[-1], config.num_labels) if config.num_labels else nn.Identity()
        self.classifier = nn.Sequential(nn.Flatten(), head)
        self.post_init()

    def forward(
        self,
        pixel_values: Tensor,
        labels: torch.LongTensor | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        apply_filter: bool = True,
        **kwargs,
    ) -> ImageClassifierOutputWithNoAttention | tuple:
        """Classify normalised images.

        Args:
            pixel_values: images (B, C, H, W).
            labels: classes (B,); with them the loss is returned too.
            output_hidden_states, return_dict, apply_filter: as in the encoder's forward.

        Returns:
            logits (B, num_labels), loss if labels were given, hidden_states if asked for.
        """
        if return_dict is None:
            return_dict = self.config.return_dict
        outputs = self.resnet(
            pixel_values, output_hidden_states=output_hidden_states, return_dict=True, apply_filter=apply_filter
        )
        logits = self.classifier(outputs.pooler_output)
        loss = None if labels is None else self.loss_function(labels, logits, self.config)
        result = ImageClassifierOutputWithNoAttention(loss=loss, logits=logits, hidden_states=outputs.hidden_states)
        return result if return_dict else result.to_tuple()
