# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
import json

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch_checkpoints import mlp, under
from transformers import AutoImageProcessor, AutoModel, ViTMSNModel

from mscn_hf.hub.conversion.files import CheckpointError
from mscn_hf.hub.conversion.msn import convert_msn


def vit(seed=0, **options):
    """timm's vision transformer, which names its tensors as MSN does; no two of its values are alike."""
    with torch.device("meta"):  # its own initialisation takes seconds
        network = VisionTransformer(num_classes=0, **options)
    network.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        parameter.data.normal_(0.0, 0.1, generator=generator)
    return network.eval()


def small_vit(seed=0, **options):
    sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 192, "depth": 2, "num_heads": 3}
    return vit(seed, **sizes | options)


def official(target, anchor=None, prefix="module."):
    """What MSN's training saves."""
    head = under("fc.fc1.", mlp(8, 4)) | {"fc.bn1.running_mean": torch.zeros(4), "fc.fc3.weight": torch.randn(4, 4)}
    optimizer = {"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": []}
    return {
        "encoder": under(prefix, (anchor or target).state_dict() | head),
        "opt": optimizer,
        "prototypes": torch.randn(10, 4),
        "target_encoder": under(prefix, target.state_dict() | head),
        "epoch": 800,
        "loss": 2.5,
    }


def convert(content, folder, **options):
    torch.save(content, folder / "msn.pth.tar")
    conversion = convert_msn(folder / "msn.pth.tar", folder / "out", check_usage=False, **options)
    model = AutoModel.from_pretrained(folder / "out").eval()
    assert type(model) is ViTMSNModel
    return model, conversion


def assert_same_features(model, reference, side, tolerance=1e-5):
    images_BCHW = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        outputs = model(images_BCHW, output_hidden_states=True)
        before = []
        reference.norm.register_forward_pre_hook(lambda module, args: before.append(args[0]))
        expected = reference.forward_features(images_BCHW)
    for got, wanted in ((outputs.last_hidden_state, expected), (outputs.hidden_states[-1], before[0])):
        assert wanted.abs().max() > 0.1
        assert (got[:, 0] - wanted[:, 0]).abs().max() <= tolerance * wanted.abs().max()


@pytest.mark.parametrize("prefix", ["module.", ""])
def test_the_target_encoder_gives_timms_features(prefix, tmp_path):
    reference = small_vit(seed=1)
    model, conversion = convert(official(reference, small_vit(seed=2), prefix), tmp_path)
    assert_same_features(model, reference, side=32)
    facts = conversion["facts"]
    assert (conversion["family"], facts["network"]) == ("msn", "target")
    assert facts["architecture"] == "ViT of width 192, 2 layers, 3 heads, patches of 8 pixels, images of 32"
    inside = f"target_encoder:{prefix}"
    anchor = {key: count for key, count in facts["left out"].items() if key.startswith("encoder:")}
    assert sum(anchor.values()) == len(official(reference)["encoder"])
    rest = {key: count for key, count in facts["left out"].items() if key not in anchor}
    assert rest == {f"{inside}fc.*": 4, "prototypes": 1, "opt": 0, "epoch": 0, "loss": 0}
    assert facts["tensors"] == len(reference.state_dict())
    preprocessor = json.loads((tmp_path / "out" / "preprocessor_config.json").read_text())
    assert preprocessor["crop_size"] == {"height": 32, "width": 32} and preprocessor["resample"] == 2
    assert preprocessor["size"] == {"shortest_edge": 37}


def test_real_size(tmp_path):
    reference = vit(img_size=224, patch_size=16, embed_dim=384, depth=12, num_heads=6)
    model, _ = convert(official(reference), tmp_path)
    config = model.config
    assert (config.hidden_size, config.num_hidden_layers, config.num_attention_heads) == (384, 12, 6)
    assert (config.image_size, config.patch_size, config.intermediate_size) == (224, 16, 1536)
    assert config.layer_norm_eps == 1e-6
    assert_same_features(model, reference, side=224)
    processor = AutoImageProcessor.from_pretrained(tmp_path / "out")
    assert processor.size["shortest_edge"] == 256


def test_the_anchor_on_request(tmp_path):
    anchor = small_vit(seed=2)
    model, conversion = convert(official(small_vit(seed=1), anchor), tmp_path, network="anchor")
    assert_same_features(model, anchor, side=32)
    assert conversion["facts"]["network"] == "anchor"


def test_widths_of_ones_own(tmp_path):
    reference = small_vit(embed_dim=48, num_heads=6, mlp_ratio=2, qkv_bias=False)
    torch.save(official(reference), tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match="width 48 has does not stand in the file"):
        convert_msn(tmp_path / "x.pth", tmp_path / "out")
    with pytest.raises(CheckpointError, match="width 48"):
        convert_msn(tmp_path / "x.pth", tmp_path / "out", num_heads=5)
    model, _ = convert(official(reference), tmp_path, num_heads=6)
    assert not model.config.qkv_bias and model.config.intermediate_size == 96
    assert_same_features(model, reference, side=32)


def test_files_that_are_refused(tmp_path):
    saved = official(small_vit())

    def refused(match, drop=(), change=None, **options):
        content = {**saved, "target_encoder": dict(saved["target_encoder"])}
        for name in drop:
            del content["target_encoder"][f"module.{name}"]
        content["target_encoder"] |= under("module.", change or {})
        torch.save(content, tmp_path / "x.pth")
        with pytest.raises(CheckpointError, match=match):
            convert_msn(tmp_path / "x.pth", tmp_path / "out", check_usage=False, **options)
        assert not (tmp_path / "out").exists()

    refused("1 tensors are missing.*layers.1.mlp.fc2.bias", drop=["blocks.1.mlp.fc2.bias"])
    refused("pos_embed .* is missing", drop=["pos_embed"])
    refused("1 tensors have no place in ViTMSNModel: module.blocks.0.ls1.gamma", change={"blocks.0.ls1.gamma": t(192)})
    refused("has 3 blocks, of which some between 0 and 999999999", change={"blocks.999999999.norm1.bias": t(192)})
    refused(
        r"module.blocks.1.attn.qkv.weight has the shape \(5, 192\)", change={"blocks.1.attn.qkv.weight": t(5, 192)}
    )
    refused("18 positions .*no square", change={"pos_embed": t(1, 19, 192)})
    refused("a stem of convolutions", change={"patch_embed.stem.0.weight": t(3, 3)})
    refused("square ones of 3 channels", change={"patch_embed.proj.weight": t(192, 1, 8, 8)})
    for heads in (0, -3):
        refused("give num_heads, a divisor of the width", num_heads=heads)
    refused(r"pos_embed has the shape \(1, 0, 192\) and holds no numbers", change={"pos_embed": t(1, 0, 192)})
    refused(r"norm1.bias has the shape \(0,\) and holds", change={"blocks.1.norm1.bias": t(0)})
    refused("not finite", change={"norm.weight": t(192) / 0})
    refused("network must be one of target, anchor, got 'key'", network="key")
    refused(r"x.pth is of the family 'msn' \(.*the paper and licence of 'dino'; name 'msn', or leave", family="dino")
    refused("there is no family 'msnv2'", family="msnv2")
    torch.save(small_vit().state_dict(), tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=r"has no dictionary 'target_encoder', .*; it has ''"):
        convert_msn(tmp_path / "x.pth", tmp_path / "out")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    with pytest.raises(FileExistsError, match="not an empty folder"):
        convert_msn(tmp_path / "x.pth", tmp_path / "full")


def t(*shape):
    return torch.ones(shape)


def test_dry_run_writes_nothing(tmp_path):
    torch.save(official(small_vit()), tmp_path / "x.pth")
    assert convert_msn(tmp_path / "x.pth", "", dry_run=True)["facts"]["tensors"] == len(small_vit().state_dict())
    assert [path.name for path in tmp_path.iterdir()] == ["x.pth"]
