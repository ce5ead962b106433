# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Configuration of any encoder with a high-pass filter in front."""

import difflib
from typing import Any, ClassVar, TypeVar

from huggingface_hub.dataclasses import strict
from transformers import CONFIG_MAPPING, AutoConfig, PreTrainedConfig
from transformers.backbone_utils import BackboneConfigMixin

from .preprocessing import ImageInputConfig, reject_unknown_fields

# Of an encoder's own config these say where it came from, what its classes are called and what a backbone of its own
# would return, not what it computes.
ORIGIN_FIELDS = {
    "_name_or_path", "architectures", "auto_map", "dtype", "id2label", "label2id", "out_features", "out_indices",
    "problem_type", "stage_names", "transformers_version",
}  # fmt: skip
# Arguments of timm.create_model that load files, or that this package sets itself.
RESERVED_ARGUMENTS = {
    "cache_dir", "checkpoint_path", "exportable", "features_only", "no_jit", "num_classes", "pretrained",
    "pretrained_cfg", "pretrained_cfg_overlay", "scriptable",
}  # fmt: skip

ConfigType = TypeVar("ConfigType", bound="FilteredConfig")


@strict
class FilteredConfig(BackboneConfigMixin, ImageInputConfig):
    """MSCN for arbitrary networks (Jing et al., 2022): any encoder of timm or transformers that high-passes its input.

    `from_timm` and `from_encoder` fill in everything that the encoder decides.

    Args:
        encoder: fields of the encoder's config with its `model_type`; for timm
            `{"model_type": "timm_wrapper", "architecture": name, "model_args": {…}}`.
        hidden_size: number of the encoder's pooled features.
        stage_channels: channels of the encoder's feature maps, called "stage1", "stage2", … from the finest one;
            None: it has none, and cannot be the backbone of a detector.
        high_pass_sigma: the encoder subtracts a Gaussian blur of this many pixels from its input; None: no filter.

    Further keyword arguments are those of ImageInputConfig (evaluation preprocessing) and PreTrainedConfig.

    Example:

    ```python
    >>> from mscn_hf.models import FilteredConfig, FilteredModel
    >>> model = FilteredModel(FilteredConfig.from_timm("convnext_tiny"))
    ```
    """

    model_type = "filtered"
    remote_classes: ClassVar[dict[str, str]] = {
        "AutoConfig": "configuration_filtered.FilteredConfig",
        "AutoModel": "filtered.FilteredModel",
        "AutoBackbone": "filtered.FilteredBackbone",
        "AutoModelForImageClassification": "filtered.FilteredForImageClassification",
    }

    encoder: dict[str, Any] | None = None
    hidden_size: int | None = None
    stage_channels: list[int] | tuple[int, ...] | None = None
    high_pass_sigma: float | int | None = 5.0

    def __post_init__(self, **kwargs):
        kwargs.pop("stage_names", None)
        chosen = {name: kwargs.pop(name, None) for name in ("out_features", "out_indices")}
        self.stage_names = [f"stage{number}" for number in range(1, len(self.stage_channels or ()) + 1)]
        if self.stage_names:
            self.set_output_features_output_indices(**chosen)
        else:
            self._out_features = self._out_indices = None
        super().__post_init__(**kwargs)

    @classmethod
    def from_timm(
        cls: type[ConfigType], architecture: str, model_args: dict[str, Any] | None = None, **fields: Any
    ) -> ConfigType:
        """The configuration of a timm network, with new weights.

        Args:
            architecture: timm's name, such as "convnext_tiny", "regnety_032" or "efficientnet_b0".
            model_args: arguments of `timm.create_model`, such as `{"drop_path_rate": 0.1}`.
            fields: fields of the configuration, such as high_pass_sigma and image_size; num_channels becomes timm's
                in_chans.

        Raises:
            ValueError: an unknown name (the nearest one is named), a name with a tag of published weights, an unknown
                field, or arguments with which the network does not take images of `image_size`.
        """
        # Imported here, since it imports timm, which other encoders do not need.
        from .timm_encoder import check_architecture

        check_architecture(architecture)
        arguments = dict(model_args or {})
        channels = fields.get("num_channels", arguments.get("in_chans", 3))
        if channels != 3:
            arguments.setdefault("in_chans", channels)
        encoder = {"model_type": "timm_wrapper", "architecture": architecture, "model_args": arguments}
        return cls._measured(encoder, {"num_channels": channels, **fields})

    @classmethod
    def from_encoder(cls: type[ConfigType], encoder_config: PreTrainedConfig, **fields: Any) -> ConfigType:
        """The configuration of any encoder that `AutoModel.from_config` builds, with new weights.

        Args:
            encoder_config: the encoder's own config; its image_size and num_channels are taken over.
            fields: fields of the configuration, such as high_pass_sigma.

        Raises:
            ValueError: an unknown field, an encoder that AutoModel does not know, that filters its input itself or
                that does not take images of `image_size`.
        """
        if encoder_config.model_type == "timm_wrapper":
            return cls.from_timm(encoder_config.architecture, encoder_config.model_args, **fields)
        encoder = {name: value for name, value in encoder_config.to_diff_dict().items() if name not in ORIGIN_FIELDS}
        own = {"num_channels": getattr(encoder_config, "num_channels", 3)}
        if isinstance(size := getattr(encoder_config, "image_size", None), int):
            own["image_size"] = size
        return cls._measured(encoder, own | fields)

    @classmethod
    def _measured(cls: type[ConfigType], encoder: dict[str, Any], fields: dict[str, Any]) -> ConfigType:
        """Check the fields, then fill in the sizes of the encoder's features."""
        from .any_encoder import measure_encoder

        reject_unknown_fields(cls, fields)
        plain = {name: value for name, value in fields.items() if name not in ("out_features", "out_indices")}
        draft = cls(encoder=encoder, **{**plain, "hidden_size": 1, "stage_channels": None})
        hidden_size, stage_channels = measure_encoder(encoder, draft.num_channels, draft.image_size)
        return cls(encoder=encoder, **{**fields, "hidden_size": hidden_size, "stage_channels": stage_channels})

    def validate_encoder(self):
        encoder = self.encoder or {}
        model_type = encoder.get("model_type")
        if model_type not in CONFIG_MAPPING:
            nearest = difflib.get_close_matches(str(model_type), list(CONFIG_MAPPING), n=1)
            hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
            raise ValueError(
                f"encoder must hold a config's fields with a model_type that transformers knows, got {model_type!r}"
                f"{hint} (FilteredConfig.from_timm and FilteredConfig.from_encoder write it)"
            )
        if "high_pass_sigma" in encoder:
            raise ValueError(f"an encoder of type {model_type!r} filters its input itself: use it as it is")
        if model_type == "timm_wrapper":
            _check_timm(encoder)
            channels = (encoder.get("model_args") or {}).get("in_chans", 3)
        else:
            channels = getattr(AutoConfig.for_model(**encoder), "num_channels", self.num_channels)
        if channels != self.num_channels:
            raise ValueError(f"the encoder takes {channels} channels, but num_channels is {self.num_channels}")

    def validate_sizes(self):
        if self.hidden_size is None or self.hidden_size < 1:
            raise ValueError(
                f"hidden_size must be the number of the encoder's pooled features, got {self.hidden_size}; "
                "FilteredConfig.from_timm and FilteredConfig.from_encoder find it"
            )
        if self.stage_channels is not None and (not self.stage_channels or min(self.stage_channels) < 1):
            raise ValueError(f"stage_channels must be at least 1 everywhere, or None, got {self.stage_channels}")


def _check_timm(encoder: dict[str, Any]) -> None:
    """Raise ValueError for fields of a timm encoder that are unknown, or that would read files."""
    if unknown := encoder.keys() - {"model_type", "architecture", "model_args"}:
        raise ValueError(f"a timm encoder has architecture and model_args, got also {', '.join(sorted(unknown))}")
    architecture, arguments = encoder.get("architecture"), encoder.get("model_args") or {}
    if not isinstance(architecture, str) or not architecture.replace("_", "").isalnum():
        raise ValueError(
            f"architecture must be timm's name of a network, such as 'convnext_tiny', got {architecture!r}"
        )
    if not isinstance(arguments, dict):
        raise ValueError(f"model_args must be a dict of arguments of timm.create_model, got {arguments!r}")
    if reserved := arguments.keys() & RESERVED_ARGUMENTS:
        raise ValueError(
            f"model_args cannot hold {', '.join(sorted(reserved))}: the network is made without classifier and "
            "without weights from elsewhere"
        )


FilteredConfig.register_for_auto_class()

__all__ = ["FilteredConfig"]
