# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
import json

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn
from torch_checkpoints import body, checkpoints, sequential, small_resnet, under, unsettle
from torchvision.models.resnet import Bottleneck
from transformers import AutoModel, ResNetForImageClassification, ResNetModel

from mscn_hf.hub.conversion.families import FAMILIES
from mscn_hf.hub.conversion.files import CheckpointError
from mscn_hf.hub.conversion.pth import convert_pth
from mscn_hf.hub.conversion.torch_files import open_torch_file
from mscn_hf.hub.conversion.torch_keys import LAYOUTS, PREPROCESSING, from_torchvision
from mscn_hf.hub.conversion.torch_tensors import read_weights


@pytest.fixture(scope="module")
def wanted():
    return small_resnet(seed=1)


@pytest.fixture(scope="module")
def other():
    return small_resnet(seed=2)


def convert(content, folder, name="checkpoint.pth", **options):
    """Saves a checkpoint, converts it, loads the result with transformers; gives the model and conversion.json."""
    (save_file if name.endswith(".safetensors") else torch.save)(content, folder / name)
    facts = convert_pth(folder / name, folder / "out", check_usage=False, **options)
    assert json.loads((folder / "out" / "conversion.json").read_text()) == facts
    return AutoModel.from_pretrained(folder / "out").eval(), facts


def refused(content, folder, match, **options):
    torch.save(content, folder / "checkpoint.pth")
    with pytest.raises(CheckpointError, match=match) as caught:
        convert_pth(folder / "checkpoint.pth", folder / "out", check_usage=False, **options)
    assert not (folder / "out").exists()
    return str(caught.value)


def assert_same_tensors(model, state):
    """Bit for bit, nothing more and nothing less."""
    got = model.state_dict()
    assert sorted(got) == sorted(from_torchvision(name) for name in state)
    for name, tensor in state.items():
        assert torch.equal(got[from_torchvision(name)], tensor), name


def assert_same_features(model, reference, side, tolerance=1e-6):
    images_BCHW = torch.randn(2, 3, side, side + 9, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        got, expected = model(images_BCHW).pooler_output.flatten(1), reference(images_BCHW)
    assert expected.abs().max() > 0.1
    assert (got - expected).abs().max() <= tolerance * expected.abs().max()


FAMILY_FILES = sorted(checkpoints(small_resnet(), small_resnet()))


@pytest.mark.parametrize("layout", FAMILY_FILES)
def test_each_familys_checkpoint(layout, wanted, other, tmp_path):
    family = layout.partition(",")[0]
    model, conversion = convert(checkpoints(wanted, other)[layout], tmp_path)
    assert type(model) is ResNetModel and model.config.model_type == "resnet"
    assert_same_tensors(model, body(wanted))
    facts = conversion["facts"]
    assert (conversion["family"], facts["layout"]) == (family, family)
    assert conversion["source"] == FAMILIES[family].source and conversion["license"] == FAMILIES[family].license
    # Every tensor of every dictionary is accounted for.
    total = sum(1 for tensor in tensors_of(checkpoints(wanted, other)[layout]))
    assert facts["tensors"] + sum(facts["left out"].values()) == total
    assert facts["tensors"] == len(body(wanted))


LIBRARIES = ("vissl", "solo_learn", "lightly")


@pytest.mark.parametrize("layout", FAMILY_FILES)
def test_a_familys_file_gets_no_others_licence(layout, wanted, other, tmp_path):
    family = layout.partition(",")[0]
    torch.save(checkpoints(wanted, other)[layout], tmp_path / "checkpoint.pth")

    def found(named):
        return convert_pth(tmp_path / "checkpoint.pth", "", family=named, dry_run=True)

    assert found(family)["family"] == family
    wrong = "dino" if family != "dino" else "swav"
    if family in LIBRARIES:  # which lay out the weights of many methods alike
        conversion = found(wrong)
        assert (conversion["family"], conversion["facts"]["layout"]) == (wrong, family)
        assert conversion["license"] == FAMILIES[wrong].license
        return
    message = (
        f"checkpoint.pth is of the family {family!r} .*the paper and licence of {wrong!r}; name {family!r}, or leave"
    )
    with pytest.raises(CheckpointError, match=message):
        found(wrong)
    with pytest.raises(CheckpointError, match="licence of 'resnet'"):
        found("resnet")


def tensors_of(content):
    for name, value in content.items():
        if isinstance(name, str) and isinstance(value, torch.Tensor):
            yield value
        elif isinstance(name, str) and isinstance(value, dict):
            yield from tensors_of(value)


def test_tables_agree():
    assert {layout.family for layout in LAYOUTS} | set(PREPROCESSING) <= set(FAMILIES)
    files = {name.partition(",")[0] for name in FAMILY_FILES}
    assert {layout.family for layout in LAYOUTS} == files, "a layout without a test, or the reverse"


def test_what_is_left_out_is_listed(wanted, other, tmp_path):
    _, conversion = convert(checkpoints(wanted, other)["mocov2"], tmp_path)
    assert conversion["facts"]["left out"] == {
        "state_dict:module.encoder_q.fc.*": 4,
        "state_dict:module.encoder_k.*": len(body(other)) + 4,
        "state_dict:module.queue": 1,
        "state_dict:module.queue_ptr": 1,
        "arch": 0,
        "epoch": 0,
        "optimizer": 0,
    }


@pytest.mark.parametrize("layout, network", [("mocov2", "key"), ("mocov3", "momentum"), ("dino", "student")])
def test_the_other_network_on_request(layout, network, wanted, other, tmp_path):
    model, conversion = convert(checkpoints(wanted, other)[layout], tmp_path, network=network)
    assert_same_tensors(model, body(other))
    assert conversion["facts"]["network"] == network


def test_any_place_by_its_prefix(wanted, other, tmp_path):
    content = checkpoints(wanted, other)
    model, _ = convert(content["mocov2"], tmp_path, prefix="module.encoder_k")
    assert_same_tensors(model, body(other))
    (tmp_path / "two").mkdir()
    model, _ = convert(content["dino"], tmp_path / "two", prefix="student:module.backbone.")
    assert_same_tensors(model, body(other))
    (tmp_path / "three").mkdir()
    there = r"2 ResNets at 'module.backbone.'; there are 'student:module.backbone.', 'teacher:module.backbone.'"
    refused(content["dino"], tmp_path / "three", there, prefix="module.backbone.")
    refused(content["dino"], tmp_path / "three", "0 ResNets at 'nowhere'", prefix="nowhere")
    refused(content["dino"], tmp_path / "three", "has the networks teacher, student; there is no 'key'", network="key")
    refused(body(wanted), tmp_path / "three", "is of no family with named networks", network="key")


def test_several_encoders_of_no_known_family(wanted, other, tmp_path):
    both = {**under("first.", body(wanted)), **under("second.", body(other))}
    refused(both, tmp_path, "2 complete ResNets; choose one with --prefix: ':first.', ':second.'")
    del both["second.layer4.0.conv2.weight"]  # the other one alone is whole
    model, _ = convert(both, tmp_path)
    assert_same_tensors(model, body(wanted))


def test_an_average_of_weights_inside_the_network(wanted, other, tmp_path):
    """Tensors under a longer prefix are the other network's, not left over from this one."""
    model, conversion = convert({**body(wanted), **under("ema.", body(other))}, tmp_path, prefix="")
    assert_same_tensors(model, body(wanted))
    assert conversion["facts"]["left out"] == {"ema.*": len(body(other))}


def test_torchvision_resnet50_of_real_size(tmp_path):
    reference = unsettle(torchvision.models.resnet50())
    model, conversion = convert(reference.state_dict(), tmp_path)
    assert conversion["facts"]["architecture"] == "ResNet-50 1x" and conversion["facts"]["parameters"] == 23_508_032
    reference.fc = nn.Identity()
    assert_same_features(model, reference, side=40)
    back, converted = torchvision.models.resnet50(), model.state_dict()
    back.fc = nn.Identity()
    back.load_state_dict({name: converted[from_torchvision(name)] for name in back.state_dict()}, strict=True)
    assert all(torch.equal(tensor, reference.state_dict()[name]) for name, tensor in back.state_dict().items())


def test_timm_resnet18(tmp_path):
    reference = unsettle(timm.create_model("resnet18"))
    model, conversion = convert(reference.state_dict(), tmp_path, family="timm", source="https://example.org/x")
    assert conversion["family"] == "timm" and conversion["source"] == "https://example.org/x"
    reference.reset_classifier(0)
    assert_same_features(model, reference, side=40)


def test_bottlenecks_of_double_width_in_a_sequence(tmp_path):
    reference = small_resnet(block=Bottleneck, channels=16)
    content = {"state_dict": under("model.net.", sequential(body(reference)))}
    model, conversion = convert(content, tmp_path)
    assert conversion["facts"]["architecture"] == "ResNet-14 0.25x" and conversion["family"] == "resnet"
    reference.fc = nn.Identity()
    assert_same_features(model, reference, side=40)


def test_transformers_own_names(wanted, tmp_path):
    model, _ = convert(body(wanted), tmp_path)
    (tmp_path / "again").mkdir()
    classifier = {"classifier.1.weight": torch.randn(10, 64), "classifier.1.bias": torch.zeros(10)}
    again, conversion = convert(under("resnet.", model.state_dict()) | classifier, tmp_path / "again")
    assert_same_tensors(again, body(wanted))
    assert conversion["facts"]["left out"] == {"classifier.*": 2}


def test_safetensors(wanted, tmp_path):
    model, conversion = convert(dict(body(wanted)), tmp_path, name="model.safetensors")
    assert_same_tensors(model, body(wanted))
    assert conversion["facts"]["left out"] == {}


@pytest.mark.parametrize("name", ["x.pth", "x.safetensors"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_types_become_float32(name, dtype, wanted, tmp_path):
    state = {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in body(wanted).items()}
    model, _ = convert(state, tmp_path, name=name)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert_same_tensors(
        model, {n: tensor.float() if tensor.is_floating_point() else tensor for n, tensor in state.items()}
    )


def test_counters_that_old_files_lack(wanted, tmp_path):
    state = {name: tensor for name, tensor in body(wanted).items() if not name.endswith("num_batches_tracked")}
    model, conversion = convert(state, tmp_path)
    counters = [name for name in model.state_dict() if name.endswith("num_batches_tracked")]
    assert all(model.state_dict()[name] == 0 for name in counters)
    assert_same_tensors(model, {**body(wanted), **dict.fromkeys(set(body(wanted)) - set(state), torch.tensor(0))})
    assert any(f"{len(counters)} counters" in note for note in conversion["facts"]["notes"])


def test_classifier_is_kept_on_request(wanted, tmp_path):
    _, conversion = convert(wanted.state_dict(), tmp_path, with_head=True)
    model = ResNetForImageClassification.from_pretrained(tmp_path / "out").eval()
    images_BCHW = torch.randn(2, 3, 40, 40)
    with torch.no_grad():
        assert torch.allclose(model(images_BCHW).logits, wanted(images_BCHW), rtol=1e-5, atol=1e-5)
    assert conversion["facts"]["left out"] == {}
    assert conversion["facts"]["tensors"] == len(wanted.state_dict())
    projector = {**wanted.state_dict(), "fc.weight": torch.randn(128, 64), "fc.bias": torch.randn(128)}
    (tmp_path / "two").mkdir()
    refused(projector, tmp_path / "two", r"fc has the shape \(128, 64\), a projector's", with_head=True)
    refused(body(wanted), tmp_path / "two", "there is no fc", with_head=True)


def preprocessor_of(folder):
    return json.loads((folder / "out" / "preprocessor_config.json").read_text())


def test_preprocessing_is_the_familys(wanted, other, tmp_path):
    for layout in ("mocov2", "swav", "dino"):
        (tmp_path / layout).mkdir()
        convert(checkpoints(wanted, other)[layout], tmp_path / layout)
    moco, swav, dino = (preprocessor_of(tmp_path / layout) for layout in ("mocov2", "swav", "dino"))
    assert (moco["resample"], moco["size"], moco["crop_size"]["height"]) == (2, {"shortest_edge": 256}, 224)
    assert moco["image_mean"] == [0.485, 0.456, 0.406] and moco["image_std"] == [0.229, 0.224, 0.225]
    assert swav == moco | {"image_std": [0.228, 0.224, 0.225]}
    assert dino == moco | {"resample": 3}


def test_timms_config_beside_the_file(wanted, tmp_path):
    timms = {"input_size": [3, 288, 288], "crop_pct": 0.95, "interpolation": "bicubic"}
    timms |= {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "resnet18", "pretrained_cfg": timms}))
    convert(dict(wanted.state_dict()), tmp_path, name="model.safetensors")
    made = preprocessor_of(tmp_path)
    assert (made["crop_size"]["width"], made["size"]["shortest_edge"], made["resample"]) == (288, 303, 3)
    assert made["image_mean"] == [0.5] * 3 and made["image_std"] == [0.25] * 3


def test_timms_config_that_says_little_or_nonsense(wanted, tmp_path):
    def write(**settings):
        (tmp_path / "config.json").write_text(json.dumps({"pretrained_cfg": settings}))

    write(input_size=[3, 112, 112])
    convert(body(wanted), tmp_path, name="x.pth")
    made = preprocessor_of(tmp_path)
    assert (made["crop_size"]["width"], made["size"]["shortest_edge"], made["resample"]) == (112, 128, 2)
    assert made["image_mean"] == [0.485, 0.456, 0.406] and made["image_std"] == [0.229, 0.224, 0.225]
    (tmp_path / "two").mkdir()
    torch.save(body(wanted), tmp_path / "x.pth")
    for wrong in (
        *({"crop_pct": value} for value in (0, 1e-320, -1, "much", None)),
        *({"input_size": value} for value in ([], 224, [3, 0, 0], {"a": 1})),
        *({"mean": value} for value in (None, 0.5, [0.5], ["a", "b", "c"])),
        *({"std": [0.5] * 4}, {"interpolation": ["bicubic"]}),
    ):
        write(**wrong)
        with pytest.raises(CheckpointError, match="has a pretrained_cfg that gives no preprocessing"):
            convert_pth(tmp_path / "x.pth", "", dry_run=True)


def test_axes_of_size_zero(wanted, tmp_path):
    wide = body(small_resnet(block=Bottleneck))
    empty = {"layer1.0.conv2.weight": torch.zeros(8, 0, 3, 3)}
    refused(wide | empty, tmp_path, r"layer1.0.conv2.weight has the shape \(8, 0, 3, 3\) and holds no numbers")
    refused(body(wanted) | {"conv1.weight": torch.zeros(0, 3, 7, 7)}, tmp_path, r"\(0, 3, 7, 7\) and holds no numbers")


def test_many_weights_in_one_storage(wanted, tmp_path):
    state = body(wanted)
    largest = max(tensor.numel() for tensor in state.values())
    storage = torch.rand(largest)
    views = {
        name: storage[: tensor.numel()].view(tensor.shape) if tensor.is_floating_point() else tensor
        for name, tensor in state.items()
    }
    refused(views, tmp_path, "uses the same numbers for several tensors.*weights take [0-9,]+ bytes, the file [0-9,]+")


def test_an_empty_weight_is_refused_when_it_is_read(tmp_path):
    torch.save({"w": torch.zeros(3, 0)}, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=r"w has the shape \(3, 0\)"):
        read_weights(open_torch_file(tmp_path / "x.pth"), "", {"new": "w"})


def test_equal_shapes_of_another_network(wanted, tmp_path):
    """A blurring ResNet of timm has the same tensors as a plain one; an MSCN too, but it filters its input."""
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "resnetblur18"}))
    refused(wanted.state_dict(), tmp_path, "timm's 'resnetblur18', which differs")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "mscn", "high_pass_sigma": 5.0}))
    refused(wanted.state_dict(), tmp_path, "it is a 'mscn' of transformers; load it with AutoModel")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "resnet", "downsample_in_bottleneck": True}))
    model, _ = convert(wanted.state_dict(), tmp_path)
    assert model.config.downsample_in_bottleneck


class SqueezeExcite(timm.models.resnet.BasicBlock):
    """A basic block with attention over channels."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs, attn_layer="se")


def timm_resnet(block=timm.models.resnet.BasicBlock, **options):
    return timm.models.resnet.ResNet(block, (1, 1, 1, 1), num_classes=0, **options)


RELATIVES = {
    "wide": (lambda: small_resnet(block=Bottleneck, width_per_group=128), "a wide ResNet such as wide_resnet50_2"),
    "ResNeXt": (lambda: small_resnet(block=Bottleneck, groups=2), r"2 groups \(a ResNeXt\)"),
    "deep stem": (lambda: timm_resnet(stem_type="deep"), "several convolutions"),
    "ResNet-D": (lambda: timm_resnet(avg_down=True), "shortcuts average"),
    "attention": (lambda: timm_resnet(SqueezeExcite), "attention of their own"),
    "group norm": (lambda: small_resnet(norm_layer=lambda channels: nn.GroupNorm(2, channels)), "not batch norm"),
}


@pytest.mark.parametrize("relative", RELATIVES)
def test_relatives_that_transformers_does_not_have(relative, tmp_path):
    make, match = RELATIVES[relative]
    refused(make().state_dict(), tmp_path, match)


def test_stems_that_transformers_does_not_have(wanted, tmp_path):
    state = body(wanted)
    refused({**state, "conv1.weight": torch.randn(8, 3, 3, 3)}, tmp_path, "3x3 .small images.*7x7")
    refused({**state, "conv1.weight": torch.randn(8, 1, 7, 7)}, tmp_path, "images of 1 channels")
    refused({**state, "conv1.bias": torch.randn(8)}, tmp_path, "convolutions have biases")
    refused({n: t for n, t in state.items() if n != "conv1.weight"}, tmp_path, "conv1.weight.* is missing")


def test_tensors_that_are_missing_left_over_or_misshapen(wanted, tmp_path):
    def without(*prefixes, of=wanted):
        return {name: tensor for name, tensor in body(of).items() if not name.startswith(prefixes)}

    refused(without("layer3.0.bn2.running_var"), tmp_path, "1 tensors are missing.*stages.2.*running_var")
    refused(without("layer3.0.conv2"), tmp_path, "1 tensors are missing")
    refused(without("layer4"), tmp_path, r"stages \[1, 2, 3\], expected 1 to 4")
    three = small_resnet((3, 4, 6, 3))
    refused(without("layer3.5.", of=three), tmp_path, r"\[3, 4, 5, 3\] basic layers.*Are layers missing")
    refused(without("layer3.2.", of=three), tmp_path, r"stage 3 has the layers \[0, 1, 3, 4, 5\]")
    refused(
        {**body(wanted), "layer2.0.conv1.weight": torch.randn(16, 8, 1, 1)}, tmp_path, r"shape \(16, 8, 1, 1\), exp"
    )
    refused({**body(wanted), "layer2.0.bn1.weight": torch.randn(17)}, tmp_path, r"shape \(17,\), expected \(16,\)")
    extra = {"layer1.0.downsample.0.weight": torch.randn(8, 8, 1, 1)}
    refused(body(wanted) | extra, tmp_path, "1 tensors have no place in a ResNet-10: layer1.0.downsample.0.weight")


def test_left_over_tensors_are_dropped_by_name_only(wanted, tmp_path):
    strange = {"decoder.0.weight": torch.randn(3)}
    refused(body(wanted) | strange, tmp_path, "1 tensors have no place .*decoder.0.weight.*--drop")
    inside = {"layer1.0.scale": torch.randn(3)}
    refused(body(wanted) | inside, tmp_path, "layer1.0.scale", drop=["*"])  # part of the network
    model, conversion = convert(body(wanted) | strange, tmp_path, drop=["decoder.*"])
    assert_same_tensors(model, body(wanted))
    assert conversion["facts"]["left out"] == {"decoder.*": 1}


def test_values_that_no_weight_has(wanted, tmp_path):
    def with_value(name, value):
        tensor = wanted.state_dict()[name].clone()
        tensor.view(-1)[-1] = value
        return {**body(wanted), name: tensor}

    for value in (float("nan"), float("inf"), -float("inf")):
        refused(
            with_value("layer1.0.conv1.weight", value), tmp_path, "layer1.0.conv1.weight holds values that are not"
        )
    refused(with_value("bn1.running_var", -1e-3), tmp_path, "bn1.running_var holds negative variances")
    integers = {**body(wanted), "bn1.weight": torch.ones(8, dtype=torch.int32)}
    refused(integers, tmp_path, "bn1.weight holds torch.int32, not weights")
    huge = {**body(wanted), "bn1.weight": torch.full((8,), 1e300, dtype=torch.float64)}
    refused(huge, tmp_path, "not finite in float32")


def test_layouts_that_nobody_knows(tmp_path):
    vit = {"module.blocks.0.attn.qkv.weight": torch.randn(3, 1), "module.norm.weight": torch.randn(1)}
    message = refused({"model": vit, "epoch": 1}, tmp_path, "holds no ResNet in a layout known here")
    assert "'model:module.blocks', 'model:module.norm'" in message
    refused({"model": vit}, tmp_path, "there is no family 'mocov9'; known are .*mocov2", family="mocov9")


def test_dry_run_writes_nothing(wanted, other, tmp_path):
    torch.save(checkpoints(wanted, other)["swav"], tmp_path / "x.pth")
    facts = convert_pth(tmp_path / "x.pth", tmp_path / "out", dry_run=True)
    assert [path.name for path in tmp_path.iterdir()] == ["x.pth"]
    assert facts == convert_pth(tmp_path / "x.pth", tmp_path / "out", check_usage=False)


def test_used_folders_are_refused(wanted, tmp_path):
    torch.save(body(wanted), tmp_path / "x.pth")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="not an empty folder"):
        convert_pth(tmp_path / "missing.pth", tmp_path / "out")  # before a long read
    with pytest.raises(FileExistsError, match="not an empty folder"):
        convert_pth(tmp_path / "x.pth", tmp_path / "x.pth")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]
    (tmp_path / "out" / "mine.txt").unlink()
    convert_pth(tmp_path / "x.pth", tmp_path / "out", check_usage=False)
    assert (tmp_path / "out" / "model.safetensors").is_file()
