# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Any encoder behind MSCN's high-pass filter: the encoder, its feature maps for detectors, and a classifier."""

import os
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.backbone_utils import BackboneMixin
from transformers.modeling_outputs import (
    BackboneOutput,
    BaseModelOutputWithPoolingAndNoAttention,
    ImageClassifierOutputWithNoAttention,
)

from .any_encoder import build_encoder, has_class_token, pooled_features
from .configuration_filtered import FilteredConfig
from .high_pass import HighPassFilter


class FilteredPreTrainedModel(PreTrainedModel):
    """What the filtered networks share: the encoder keeps its own library's initial weights; saving writes all."""

    config: FilteredConfig
    base_model_prefix = "filtered"
    main_input_name = "pixel_values"
    # The loss is a mean over the micro-batch; Trainer then divides by the accumulation steps.
    accepts_loss_kwargs = False

    def save_pretrained(self, save_directory: str | os.PathLike, *args, **kwargs) -> None:
        """Write weights (safetensors), config.json, preprocessor_config.json and the modelling files.

        config.json's auto_map names every head, so that each Auto class loads the folder with
        `trust_remote_code=True` where this package is not installed. Arguments are PreTrainedModel's.
        """
        self.config.auto_map = dict(self.config.remote_classes)
        super().save_pretrained(save_directory, *args, **kwargs)

    def _add_encoder(self, config: FilteredConfig) -> None:
        """The modules of the encoder and its backbone, under the same names, so that they exchange weights."""
        self.high_pass = nn.Identity() if config.high_pass_sigma is None else HighPassFilter(config.high_pass_sigma)
        self.encoder = build_encoder(config.encoder or {})

    def _encode(self, pixel_values: Tensor, apply_filter: bool, **options: Any) -> Any:
        channels = self.config.num_channels
        if pixel_values.ndim != 4 or pixel_values.shape[1] != channels:
            raise ValueError(
                f"this encoder takes images of shape (batch, {channels}, height, width), "
                f"got {tuple(pixel_values.shape)}"
            )
        return self.encoder(
            self.high_pass(pixel_values) if apply_filter else pixel_values, return_dict=True, **options
        )


class FilteredModel(FilteredPreTrainedModel):
    """Any encoder. It high-passes its input unless called with `apply_filter=False`."""

    def __init__(self, config: FilteredConfig):
        super().__init__(config)
        self._add_encoder(config)
        self._class_token = has_class_token(self.encoder)
        self.post_init()

    def forward(
        self,
        pixel_values: Tensor,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        apply_filter: bool = True,
        **kwargs,
    ) -> BaseModelOutputWithPoolingAndNoAttention | tuple:
        """Encode normalised images.

        Args:
            pixel_values: images (B, C, H, W), normalised by the configuration's mean and std.
            output_hidden_states: also return the encoder's hidden states, where it gives them.
            return_dict: False for a plain tuple.
            apply_filter: False if the images have been high-passed already, as in pre-training.
            kwargs: further arguments of the encoder, such as interpolate_pos_encoding.

        Returns:
            last_hidden_state as the encoder gives it, (B, C, h, w) for ConvNets; pooler_output (B, F, 1, 1): the
            encoder's own, or its class token, or the mean over positions; and, if asked for, hidden_states.
        """
        if output_hidden_states is None:
            output_hidden_states = self.config.output_hidden_states
        if output_hidden_states:
            kwargs["output_hidden_states"] = True
        output = self._encode(pixel_values, apply_filter, **kwargs)
        result = BaseModelOutputWithPoolingAndNoAttention(
            last_hidden_state=output.last_hidden_state,
            pooler_output=pooled_features(output, self._class_token),
            hidden_states=tuple(output.hidden_states) if output_hidden_states else None,
        )
        return result if return_dict or (return_dict is None and self.config.return_dict) else result.to_tuple()


class FilteredBackbone(BackboneMixin, FilteredPreTrainedModel):
    """The encoder as the backbone of a detector or segmenter: the feature maps of `config.out_features`.

    Raises:
        ValueError: the encoder's hidden states are not all maps (B, C, h, w), as in vision transformers.
    """

    has_attentions = False

    def __init__(self, config: FilteredConfig):
        if not config.stage_channels:
            raise ValueError(f"this encoder gives no feature maps, so it cannot be a backbone: {config.encoder}")
        super().__init__(config)
        self.num_features = list(config.stage_channels)
        self._add_encoder(config)
        self.post_init()

    def forward(  # type: ignore[override]
        self,
        pixel_values: Tensor,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        apply_filter: bool = True,
        **kwargs,
    ) -> BackboneOutput | tuple:
        """Feature maps of normalised images (B, C, H, W); arguments as in the model's forward.

        Returns:
            feature_maps, one (B, channels, h, w) for each of `config.out_features`, and hidden_states if asked for.
        """
        if output_hidden_states is None:
            output_hidden_states = self.config.output_hidden_states
        maps = self._encode(pixel_values, apply_filter, output_hidden_states=True).hidden_states
        result = BackboneOutput(
            feature_maps=tuple(maps[index] for index in self.out_indices),
            hidden_states=tuple(maps) if output_hidden_states else None,
        )
        return result if return_dict or (return_dict is None and self.config.return_dict) else result.to_tuple()


class FilteredForImageClassification(FilteredPreTrainedModel):
    """Any filtered encoder with a linear classifier of `config.num_labels` classes on its pooled features."""

    def __init__(self, config: FilteredConfig):
        super().__init__(config)
        self.num_labels = config.num_labels
        self.filtered = FilteredModel(config)
        size = config.hidden_size or 0
        self.classifier = nn.Linear(size, config.num_labels) if config.num_labels else nn.Identity()
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
            output_hidden_states, return_dict, apply_filter, kwargs: as in the encoder's forward.

        Returns:
            logits (B, num_labels), loss if labels were given, hidden_states if asked for.
        """
        outputs = self.filtered(
            pixel_values, output_hidden_states=output_hidden_states, return_dict=True, apply_filter=apply_filter,
            **kwargs,
        )  # fmt: skip
        logits = self.classifier(outputs.pooler_output.flatten(start_dim=1))
        loss = None if labels is None else self.loss_function(labels, logits, self.config)
        result = ImageClassifierOutputWithNoAttention(loss=loss, logits=logits, hidden_states=outputs.hidden_states)
        return result if return_dict or (return_dict is None and self.config.return_dict) else result.to_tuple()


FilteredModel.register_for_auto_class("AutoModel")
FilteredBackbone.register_for_auto_class("AutoBackbone")
FilteredForImageClassification.register_for_auto_class("AutoModelForImageClassification")

__all__ = ["FilteredBackbone", "FilteredForImageClassification", "FilteredModel", "FilteredPreTrainedModel"]
