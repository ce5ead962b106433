# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""What a format can hold, so that nothing of a network is dropped in silence."""

from transformers import PreTrainedConfig
from transformers.models.resnet.configuration_resnet import ResNetConfig

from mscn_hf.models.configuration_siamese_resnet import RESNET_LAYERS

from .source import ExportError

# Target -> what it holds beyond torchvision's ResNet-18, 34, 50, 101 and 152 on RGB images. ONNX holds everything.
#   resnet: transformers' own ResNet, all of whose fields the encoders here share.
#   timm: `channels` widens the stages but leaves 64 channels in the stem, and padding is symmetric.
#   torchvision: ResNet-200 has no function of its own but can be built from the class.
#   detectron2: STEM_OUT_CHANNELS, WIDTH_PER_GROUP and RES2_OUT_CHANNELS widen bottlenecks (basic layers: 64 only);
#     there is no depth 200.
HOLDS: dict[str, set[str]] = {
    "timm": {"depth 200", "channels"},
    "torchvision": {"depth 200"},
    "detectron2": {"bottleneck width", "stride in 1x1"},
    "resnet": {
        *("depth 200", "channels", "bottleneck width", "basic width", "sizes", "stride in 1x1"),
        *("first stage", "activation"),
    },
}
TARGETS = (*HOLDS, "onnx")


def standard_resnet(config: ResNetConfig) -> tuple[int, int] | None:
    """Depth and width of a standard ResNet, such as (50, 2), or None for other sizes of layers."""
    sizes, stem = list(config.hidden_sizes or ()), config.embedding_size
    for depth, (layer_type, depths) in RESNET_LAYERS.items():
        base = 64 if layer_type == "basic" else 256
        if (config.layer_type, list(config.depths or ())) == (layer_type, depths):
            width = max(stem // 64, 1)
            if stem == 64 * width and sizes == [base * width * 2**stage for stage in range(4)]:
                return depth, width
    return None


def depth_and_width(config: ResNetConfig) -> tuple[int, int]:
    """The same for a network that has been found fit: raises ExportError for other sizes of layers."""
    standard = standard_resnet(config)
    if standard is None:
        raise ExportError(f"no standard ResNet: hidden_sizes={config.hidden_sizes}, depths={config.depths}")
    return standard


def special_properties(config: PreTrainedConfig) -> dict[str, str]:
    """How a network differs from torchvision's standard ones: property -> what an error calls it."""
    found = {}
    sigma = getattr(config, "high_pass_sigma", None)
    if sigma is not None:
        found["filter"] = f"the high-pass filter of its input (high_pass_sigma={sigma})"
    if not isinstance(config, ResNetConfig):
        return {**found, "family": f"the network itself (model_type {config.model_type!r} is no ResNet of this kind)"}
    if getattr(config, "padding", "symmetric") != "symmetric":
        found["padding"] = f"its padding of strided layers (padding={config.padding!r}, as in TensorFlow)"
    if getattr(config, "stem", "imagenet") != "imagenet":
        found["stem"] = f"its stem (stem={config.stem!r}: 3x3, stride 1, no pooling)"
    standard = standard_resnet(config)
    if standard is None:
        found["sizes"] = (
            f"its sizes (embedding_size={config.embedding_size}, hidden_sizes={config.hidden_sizes}, "
            f"depths={config.depths})"
        )
    else:
        depth, width = standard
        if width > 1:
            found[f"{config.layer_type} width"] = f"its width ({width}x, the stem of {64 * width} channels included)"
        if depth == 200:
            found["depth 200"] = "its depth (ResNet-200)"
    if config.num_channels != 3:
        found["channels"] = f"its input of {config.num_channels} channels"
    if config.downsample_in_bottleneck:
        found["stride in 1x1"] = "its strides in 1x1 convolutions (downsample_in_bottleneck=True)"
    if config.downsample_in_first_stage:
        found["first stage"] = "the stride of its first stage (downsample_in_first_stage=True)"
    if config.hidden_act != "relu":
        found["activation"] = f"its activation (hidden_act={config.hidden_act!r})"
    return found


def losses(config: PreTrainedConfig, target: str) -> list[str]:
    """What of a network a target cannot hold, in words."""
    if target == "onnx":
        return []
    return [words for name, words in special_properties(config).items() if name not in HOLDS[target]]


def refuse_losses(config: PreTrainedConfig, target: str) -> None:
    """Raises ExportError if the target cannot hold the network, naming what would be lost and who can hold it."""
    lost = losses(config, target)
    if lost:
        able = " or ".join(f"--to {other}" for other in TARGETS if not losses(config, other))
        raise ExportError(
            f"{target} cannot hold this model: it would lose {'; '.join(lost)}, and give other features than its "
            f"source. {able} loses nothing"
        )
