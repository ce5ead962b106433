# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""ONNX: the whole network in one graph, high-pass filter and SAME padding included, for any size where it can be."""

import functools
import importlib.util
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers.models.resnet.configuration_resnet import ResNetConfig

from mscn_hf.models.any_encoder import has_class_token, pooled_features
from mscn_hf.models.same_padding import SameConv2d, SameMaxPool2d

from ..conversion.wording import first_line
from .source import ExportError, Source
from .written import Written, refuse_difference, relative_difference, try_images

INSTALL = 'pip install "mscn-hf[onnx]"'
TOLERANCE = 1e-4  # of the largest value; ONNX Runtime folds batch norms into convolutions and sums in another order
ONE_FILE_BYTES = 1_900_000_000  # an ONNX file ends at 2 GiB; above this the weights lie in model.onnx.data beside it


def write(source: Source, folder: Path, check: bool) -> Written:
    """Writes model.onnx and preprocessor_config.json.

    Input `pixel_values` (B, C, H, W), float32; outputs `pooler_output` (B, F), `last_hidden_state`, and `logits` of
    a classifier. The batch is free. Height and width are free for ResNets and for whatever takes other sizes and
    gives the same features at them in ONNX Runtime; else they are fixed, which notes and metadata tell.

    Raises:
        ExportError: packages are missing, the network cannot be traced, or ONNX Runtime gives other features.
    """
    for package in ("onnx", "onnxscript"):
        if importlib.util.find_spec(package) is None:
            raise ExportError(f"--to onnx needs the package {package}: {INSTALL}")
    runtime = importlib.util.find_spec("onnxruntime") is not None
    graph = _Graph(source).eval()
    nominal = (2, source.config.num_channels, *_image_size(source))
    # Tracing can fix a size in silence: for layers that nobody has tried, only a comparison tells.
    free = _takes_other_sizes(graph, nominal) and (isinstance(source.config, ResNetConfig) or (check and runtime))
    notes, difference = [], None
    for any_size in (True, False) if free else (False,):
        try:
            _export(source, graph, nominal, any_size, folder)
            difference = _compare(graph, nominal, any_size, folder / "model.onnx") if check and runtime else None
            break
        except Exception as error:  # of three libraries, which raise all kinds
            if not any_size:
                raise ExportError(f"{source.name} cannot be exported to ONNX: {first_line(error)}") from error
    outputs = ", ".join(graph.outputs)
    size = "any" if any_size else f"{nominal[2]}x{nominal[3]}"
    if not any_size:
        notes.append(f"Images have to be {size} pixels: this network cannot be exported with free height and width.")
    if check and not runtime:
        notes.append(f"Not compared with its source: onnxruntime is not installed ({INSTALL}).")
    shutil.copyfile(source.folder / "preprocessor_config.json", folder / "preprocessor_config.json")
    return Written(
        load='import onnxruntime; model = onnxruntime.InferenceSession("{folder}/model.onnx")',
        library="onnx",
        notes=(f"Input pixel_values (batch, {nominal[1]}, height, width), size {size}; outputs {outputs}.", *notes),
        usage=(
            "from transformers import AutoImageProcessor",
            'processor = AutoImageProcessor.from_pretrained(".")',
            'images = processor(image, return_tensors="np")["pixel_values"]',
            'features = model.run(["pooler_output"], {"pixel_values": images})[0]',
        ),
        difference=difference,
    )


class _Graph(nn.Module):
    """A network as the graph shows it: images to pooled features, feature maps or tokens, and scores."""

    def __init__(self, source: Source):
        super().__init__()
        self.network = source.network
        self.is_classifier = source.is_classifier
        self.class_token = has_class_token(source.encoder)
        self.outputs = ["pooler_output", "last_hidden_state", *(["logits"] if source.is_classifier else [])]

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, ...]:
        """Images (B, C, H, W) to the tensors that `outputs` names."""
        seen: list[Any] = []
        encoder: Any = self.network.base_model
        handle = encoder.register_forward_hook(lambda module, inputs, output: seen.append(output))
        try:
            result: Any = self.network(pixel_values=pixel_values)
        finally:
            handle.remove()
        [output] = seen
        pooled_BF = pooled_features(output, self.class_token).flatten(1)
        return (pooled_BF, output.last_hidden_state, *([result.logits] if self.is_classifier else []))


def _export(source: Source, graph: _Graph, shape: tuple[int, ...], any_size: bool, folder: Path) -> None:
    batch, channels, height, width = shape
    # An example that is not square, or height and width would be taken for one and the same number.
    images_BCHW = try_images(channels, height, batch, width + 32 if any_size else width)
    axes = {0: "batch", **({2: "height", 3: "width"} if any_size else {})}
    with _same_padding_of_onnx(graph) if any_size else _nothing():
        program = torch.onnx.export(
            graph,
            (images_BCHW,),
            dynamo=True,
            verbose=False,
            input_names=["pixel_values"],
            output_names=graph.outputs,
            dynamic_shapes={"pixel_values": axes},
        )
    assert program is not None
    program.model.metadata_props.update(_metadata(source, "any" if any_size else f"{height}x{width}"))
    weight_bytes = sum(tensor.nbytes for tensor in graph.state_dict().values())
    program.save(folder / "model.onnx", external_data=weight_bytes > ONE_FILE_BYTES)


def _metadata(source: Source, size: str) -> dict[str, str]:
    """What a graph does not say of itself, all of it text, as ONNX wants."""
    facts = {
        "model_type": source.config.model_type,
        "source": source.name,
        "license": source.license or "not stated",
        "input_size": size,
        "high_pass_sigma": str(getattr(source.config, "high_pass_sigma", None)),
        "padding": str(getattr(source.config, "padding", "symmetric")),
        "preprocessing": json.dumps(source.preprocessor),
    }
    if source.is_classifier:
        facts["id2label"] = json.dumps(source.config.id2label)
    return facts


@torch.no_grad()
def _compare(graph: _Graph, shape: tuple[int, ...], any_size: bool, file: Path) -> float:
    """Largest relative difference over all outputs, in two batch sizes and, where sizes are free, an odd size."""
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    batch, channels, height, width = shape
    sizes = [(batch, height, width), (1, height + 33, width + 10) if any_size else (1, height, width)]
    largest = 0.0
    for number, *pixels in sizes:
        images_BCHW = try_images(channels, pixels[0], number, pixels[1])
        got = session.run(graph.outputs, {"pixel_values": images_BCHW.numpy()})
        for tensor, expected in zip(got, graph(images_BCHW)):
            largest = max(largest, relative_difference(torch.from_numpy(tensor), expected))
    refuse_difference(largest, TOLERANCE)
    return largest


def _image_size(source: Source) -> tuple[int, int]:
    """Height and width that the image processor gives."""
    cropped = source.preprocessor.get("do_center_crop", True)
    for found in (source.preprocessor.get("crop_size") if cropped else None, source.preprocessor.get("size")):
        if isinstance(found, int):
            return found, found
        if isinstance(found, dict) and {"height", "width"} <= found.keys():
            return found["height"], found["width"]
    side = getattr(source.config, "image_size", 224)
    return side, side


@torch.no_grad()
def _takes_other_sizes(graph: _Graph, shape: tuple[int, ...]) -> bool:
    """Whether the network itself takes images of another size than its own."""
    try:
        graph(try_images(shape[1], shape[2] + 33, 1, shape[3] + 10))
    except Exception:  # libraries refuse a size in many ways
        return False
    return True


@contextmanager
def _nothing() -> Iterator[None]:
    yield


@contextmanager
def _same_padding_of_onnx(network: nn.Module) -> Iterator[None]:
    """Within the block, layers with SAME padding are traced as ONNX's own (auto_pad=SAME_UPPER).

    Their padding depends on whether a size is even. Traced as arithmetic on a free size, it grows with every layer to
    expressions that take minutes and then hold for one parity only.
    """
    twins: dict[type, Any] = {SameConv2d: _convolution, SameMaxPool2d: _max_pool}
    layers: list[Any] = [module for module in network.modules() if type(module) in twins]
    for layer in layers:
        layer.forward = functools.partial(twins[type(layer)], layer)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def _convolution(layer: SameConv2d, images_BCHW: Tensor) -> Tensor:
    rows, columns = layer.stride
    batch, _, height, width = images_BCHW.shape
    return torch.onnx.ops.symbolic(
        "Conv",
        [images_BCHW, layer.weight, layer.bias],
        {
            "auto_pad": "SAME_UPPER",
            "strides": list(layer.stride),
            "dilations": list(layer.dilation),
            "group": layer.groups,
        },
        dtype=images_BCHW.dtype,
        shape=[batch, layer.out_channels, (height + rows - 1) // rows, (width + columns - 1) // columns],
    )


def _max_pool(layer: SameMaxPool2d, images_BCHW: Tensor) -> Tensor:
    stride = layer.stride
    batch, channels, height, width = images_BCHW.shape
    return torch.onnx.ops.symbolic(
        "MaxPool",
        [images_BCHW],
        {"auto_pad": "SAME_UPPER", "strides": [stride] * 2, "kernel_shape": [layer.kernel_size] * 2},
        dtype=images_BCHW.dtype,
        shape=[batch, channels, (height + stride - 1) // stride, (width + stride - 1) // stride],
    )
