# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
import pytest
from PIL import Image
from transformers import ViTMSNConfig, ViTMSNModel

from mscn_hf.demo import load_back
from mscn_hf.models import MSCNConfig, MSCNModel
from mscn_hf.models.preprocessing import preprocessor_dict, save_preprocessor


def resnet():
    return MSCNModel(
        MSCNConfig(layer_type="basic", embedding_size=4, hidden_sizes=[8, 12], depths=[1, 1], image_size=32)
    )


def transformer():
    sizes = {"hidden_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    return ViTMSNModel(ViTMSNConfig(image_size=32, patch_size=8, **sizes))


@pytest.mark.parametrize("network", [resnet, transformer])
def test_every_encoder_can_be_loaded_back(network, tmp_path):
    """A vision transformer of MSN gives no pooled output, a recipe of the demo trains one."""
    model = network()
    model.save_pretrained(tmp_path / "encoder")
    save_preprocessor(tmp_path / "encoder", preprocessor_dict(32))
    said = load_back(tmp_path / "encoder", Image.linear_gradient("L").convert("RGB"))
    assert said == f"AutoModel.from_pretrained('{tmp_path}/encoder') -> {type(model).__name__}, features (1, 12)"
