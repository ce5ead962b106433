# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Converted networks compute what Haiku computes from the same checkpoint."""

import pickle
import types

import numpy as np
import pytest
import torch

from mscn_hf.hub.conversion.haiku import convert_haiku, read_encoder
from mscn_hf.hub.conversion.haiku_layout import describe, find_config, haiku_name, haiku_shape
from mscn_hf.models import ReLICv2Config, ReLICv2Model

haiku = pytest.importorskip("haiku", reason="the reference is dm-haiku; install the dev dependencies")
jax = pytest.importorskip("jax")
pytest.importorskip("dill")

import official_haiku as official  # noqa: E402  (needs haiku)

# Compiled without optimisation: a network runs once or twice here.
QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
SMALL = {"blocks": (1, 2, 1), "channels": (16, 32, 48), "stem": 8}


@pytest.fixture(scope="module")
def small():
    """A network of three groups with two networks' weights, "online" and "target"."""
    net = official.network(official.ResNet50, **SMALL)
    return net, official.random_trees(net, seed=0), official.random_trees(net, seed=1)


def features_of(net, trees, images_BHWC):
    params, state = trees
    apply = jax.jit(lambda p, s, x: net.apply(p, s, x, False)[0], compiler_options=QUICK)
    return np.asarray(apply(params, state, images_BHWC))


def assert_same(model, net, trees, size, tolerance=2e-6, count=2):
    images_BHWC = official.images(count, size)
    expected_BD = features_of(net, trees, images_BHWC)
    with torch.no_grad():
        pixels_BCHW = torch.from_numpy(images_BHWC.transpose(0, 3, 1, 2))
        features_BD = model(pixels_BCHW).pooler_output.flatten(1).numpy()
    assert features_BD.shape == expected_BD.shape
    assert (expected_BD.std(axis=0) > 0).mean() > 0.5, "the reference does not tell images apart"
    assert np.abs(features_BD - expected_BD).max() < tolerance * np.abs(expected_BD).max()


@pytest.mark.parametrize("replicas", [0, 3])
def test_resnet50_computes_the_same_features(tmp_path, replicas):
    """All of ResNet-50's layers, narrow; 224 pads (2, 3) at stride 2, 225 pads alike on both sides."""
    net = official.network(official.ResNet50, blocks=(3, 4, 6, 3), channels=(16, 32, 64, 128), stem=8)
    trees = official.random_trees(net)
    path = official.save_relicv2(tmp_path / "relicv2.pkl", *trees, replicas=replicas)
    model, facts = read_encoder(path)
    assert_same(model, net, trees, 224 if replicas else 225)
    assert any("3 replicas" in note and "all are equal" in note for note in facts["notes"]) == bool(replicas)
    assert facts["left out"] == {"classifier": 2, "predictor": 11, "projector": 11, "opt_state": 0, "rng": 0}
    assert facts["training steps"] == 3 and facts["tensors"] == len(model.state_dict())


def test_blocks_with_two_digits_and_plain_dicts(tmp_path):
    net = official.network(official.ResNet200, blocks=(1, 12), channels=(16, 24), stem=8)
    trees = official.random_trees(net)
    model, _ = read_encoder(official.save_relicv2(tmp_path / "x.pkl", *trees, immutable=False))
    assert list(model.config.depths) == [1, 12]
    assert_same(model, net, trees, 48)


def test_basic_layers_of_any_width(tmp_path):
    """The official TinyResNet: a stem of 64 channels, groups of 8."""
    net = official.network(official.TinyResNet, blocks=(1,) * 4, channels=(8,) * 4, stem=64, bottleneck=False)
    trees = official.random_trees(net)
    model, facts = read_encoder(official.save_relicv2(tmp_path / "x.pkl", *trees))
    assert facts["architecture"] == "ResNet of basic layers [1, 1, 1, 1], widths [8, 8, 8, 8]"
    assert_same(model, net, trees, 65)


def test_statistics_after_a_few_steps_of_training(tmp_path):
    """After two updates the debiased average is five times what Haiku keeps as `hidden`."""
    net = official.network(official.TinyResNet, blocks=(1,), channels=(16,), stem=8)
    params, state = official.random_trees(net)
    state = jax.tree.map(np.zeros_like, state)
    step = jax.jit(lambda p, s, x: net.apply(p, s, x, True)[1], compiler_options=QUICK)
    for seed in range(2):
        state = jax.device_get(step(params, state, official.images(8, 32, seed)))
    average = state["tiny_res_net/~/initial_batchnorm/~/var_ema"]
    np.testing.assert_allclose(average["average"], average["hidden"] / (1 - 0.9**2), rtol=1e-5)
    model, _ = read_encoder(official.save_relicv2(tmp_path / "x.pkl", params, state))
    assert_same(model, net, (params, state), 40)
    assert int(model.embedder.embedder.normalization.num_batches_tracked) == 2


@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize("network", ["online", "target"])
def test_byol_checkpoints(tmp_path, small, network, nested):
    net, online, target = small
    path = official.save_byol(tmp_path / "byol.pkl", *online, *target, nested=nested)
    model, facts = read_encoder(path, network)
    trees = online if network == "online" else target
    weight = model.encoder.stages[1].layers[1].layer[1].convolution.weight
    kernel = trees[0]["res_net50/~/block_group_1/~/block_1/~/conv_1"]["w"]
    np.testing.assert_array_equal(weight.detach().numpy(), kernel.transpose(3, 2, 0, 1))
    assert facts.get("training steps") == (4 if nested else None)
    assert facts["place in the file"].endswith(f"{network}_params")
    other = "target" if network == "online" else "online"
    assert {f"{other}_params", f"{other}_state", "opt_state"} <= facts["left out"].keys()
    if nested:
        assert_same(model, net, trees, 33)


def test_relicv2_has_no_target(tmp_path, small):
    _, trees, _ = small
    path = official.save_relicv2(tmp_path / "x.pkl", *trees)
    with pytest.raises(ValueError, match="holds no target_params; it holds the online network"):
        read_encoder(path, "target")
    with pytest.raises(ValueError, match="one of online, target, got 'teacher'"):
        read_encoder(path, "teacher")


@pytest.mark.parametrize("front", ["", "experiment/~/res_net101/~/"])
def test_any_name_in_front_of_the_network(tmp_path, small, front):
    _, trees, _ = small
    expected, _ = read_encoder(official.save_relicv2(tmp_path / "a.pkl", *trees))
    params, state = ({m.replace("res_net50/~/", front): a for m, a in tree.items()} for tree in trees)
    params[f"{front}logits"] = {"w": np.zeros((48, 10), np.float32), "b": np.zeros(10, np.float32)}
    model, facts = read_encoder(official.save_relicv2(tmp_path / "b.pkl", params, state))
    assert facts["left out"][f"{front}logits".replace("/~", "")] == 2
    assert {"projector", "predictor", "classifier"} < facts["left out"].keys()
    ours, theirs = model.state_dict(), expected.state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


@pytest.mark.slow
def test_resnet50_at_full_width(tmp_path):
    net = official.network(official.ResNet50, blocks=(3, 4, 6, 3), channels=(256, 512, 1024, 2048))
    trees = official.random_trees(net)
    model, facts = read_encoder(official.save_relicv2(tmp_path / "x.pkl", *trees))
    assert facts["architecture"] == "ResNet-50 1x" and facts["parameters"] == 23_508_032
    assert model.config.to_dict() == ReLICv2Config.resnet(50, padding="same").to_dict()
    for size in (224, 225):
        assert_same(model, net, trees, size, tolerance=5e-6)


@pytest.mark.slow
def test_resnet200(tmp_path):
    net = official.network(official.ResNet200, blocks=(3, 24, 36, 3), channels=(16, 32, 64, 128), stem=8)
    trees = official.random_trees(net)
    model, _ = read_encoder(official.save_relicv2(tmp_path / "x.pkl", *trees, replicas=2))
    for size in (64, 65):
        assert_same(model, net, trees, size, tolerance=1e-5)


def test_what_is_written_loads_with_official_preprocessing(tmp_path, small):
    net, trees, _ = small
    path = official.save_relicv2(tmp_path / "relicv2.pkl", *trees)
    facts = convert_haiku(path, tmp_path / "out", check_usage=False)
    assert (facts["family"], facts["license"]) == ("relicv2", "cc-by-4.0")
    model = ReLICv2Model.from_pretrained(tmp_path / "out")
    assert model.config.padding == "same" and model.config.high_pass_sigma is None
    assert_same(model, net, trees, 49)
    from transformers import AutoImageProcessor

    processor = AutoImageProcessor.from_pretrained(tmp_path / "out")
    assert dict(processor.size) == {"shortest_edge": 256}
    assert dict(processor.crop_size) == {"height": 224, "width": 224}
    assert tuple(processor.image_mean) == official.IMAGENET_MEAN
    assert tuple(processor.image_std) == official.IMAGENET_STD
    assert processor.resample == 3
    # Nothing is overwritten, and that is known before the checkpoint is read.
    with pytest.raises((ValueError, FileExistsError), match="not an empty folder"):
        convert_haiku(tmp_path / "absent.pkl", tmp_path / "out")


@pytest.mark.parametrize("depth, width", [(50, 1), (50, 2), (50, 4), (101, 1), (152, 1), (200, 1), (200, 2)])
def test_published_sizes_are_recognised(depth, width):
    """Names and shapes alone: what find_config sees of each checkpoint that DeepMind published."""
    config = ReLICv2Config.resnet(depth, width, padding="same")
    with torch.device("meta"):
        shapes = {key: tuple(tensor.shape) for key, tensor in ReLICv2Model(config).state_dict().items()}
    arrays = {haiku_name(key): types.SimpleNamespace(shape=haiku_shape(shape)) for key, shape in shapes.items()}
    assert len(arrays) == len(shapes)
    found = find_config(arrays)
    assert found.to_dict() == config.to_dict()
    assert describe(found) == f"ResNet-{depth} {width}x"


STEM = "res_net50/~/initial_conv"
BLOCK = "res_net50/~/block_group_1/~/block_1/~/"


def drop(*path):
    def change(trees):
        tree = trees[path[0]]
        for name in path[1:-1]:
            tree = tree[name]
        del tree[path[-1]]

    return change


def put(tree, module, name, make):
    def change(trees):
        trees[tree].setdefault(module, {})[name] = make(trees[tree][module].get(name))

    return change


WRONG = {
    "missing layer": (
        drop(0, f"{BLOCK}conv_1"),
        r"lacks block_group_1/block_1/conv_1/w, which a ResNet of bottleneck",
    ),
    "missing statistics": (
        drop(1, f"{BLOCK}batchnorm_0/~/mean_ema", "average"),
        "lacks block_group_1/block_1/batchnorm_0/mean_ema/average",
    ),
    "missing shortcut": (drop(0, "res_net50/~/block_group_2/~/block_0/~/shortcut_conv"), "block_0/shortcut_conv/w"),
    "no stem": (drop(0, STEM), "one stem, initial_conv/w; found none"),
    "two networks": (lambda trees: trees[0].update({"other/~/initial_conv": trees[0][STEM]}), "found 2 of them"),
    "gap in blocks": (
        lambda trees: (
            trees[0].update({"res_net50/~/block_group_1/~/block_99999999/~/conv_0": {}, "x": {}})
            or trees[0]["res_net50/~/block_group_1/~/block_99999999/~/conv_0"].update(
                w=np.zeros((1, 1, 1, 1), np.float32)
            )
        ),
        r"expected block_group_1/block_0, block_group_1/block_1 and so on, found \[0, 1, 99999999\]",
    ),
    "shape": (
        put(0, f"{BLOCK}conv_1", "w", lambda w: w[:, :, :, :-1]),
        r"block_group_1/block_1/conv_1/w has the shape \(3, 3, 8, 7\), a ResNet of .* needs \(3, 3, 8, 8\)",
    ),
    "statistics of another shape": (
        put(1, f"{BLOCK}batchnorm_0/~/var_ema", "average", lambda x: x.reshape(-1)),
        r"batchnorm_0/var_ema/average has the shape \(8,\), a ResNet of .* needs \(1, 1, 1, 8\)",
    ),
    "one replica axis": (
        put(0, f"{BLOCK}conv_1", "w", lambda w: w[None]),
        r"conv_1/w has the shape \(1, 3, 3, 8, 8\)",
    ),
    "small stem": (put(0, STEM, "w", lambda w: w[:3, :3]), r"kernel of 7 x 7 pixels, found the shape \(3, 3, 3, 8\)"),
    "no kernel": (put(0, STEM, "w", lambda w: w[0, 0]), r"initial_conv/w: expected .* found the shape \(3, 8\)"),
    "bias": (put(0, f"{BLOCK}conv_1", "b", lambda _: np.zeros(8, np.float32)), "has block_group_1/block_1/conv_1/b"),
    "unknown statistic": (
        put(1, f"{BLOCK}batchnorm_0/~/var_ema", "spread", lambda _: np.zeros(8, np.float32)),
        "has block_group_1/block_1/batchnorm_0/var_ema/spread",
    ),
    "version 2": (
        lambda trees: trees[0].update({"res_net50/~/final_batchnorm": {"scale": np.ones((1, 1, 1, 48), np.float32)}}),
        "ResNet v2",
    ),
    "integers": (put(0, STEM, "w", lambda w: w.astype(np.int32)), "initial_conv/w holds numbers of type int32"),
    "not finite": (put(0, STEM, "w", lambda w: w * np.float32("nan")), "initial_conv/w holds values that are not fin"),
    "overflow": (
        put(0, STEM, "w", lambda w: w.astype(np.float64) * 1e300),
        "initial_conv/w holds values that are not",
    ),
    "negative variance": (
        put(1, f"{BLOCK}batchnorm_0/~/var_ema", "average", lambda x: -x),
        "batchnorm_0/var_ema/average holds a negative variance",
    ),
    "never trained": (
        put(1, f"{BLOCK}batchnorm_0/~/mean_ema", "counter", lambda x: np.zeros((), np.int32)),
        "batchnorm_0/mean_ema/counter is 0: no batch statistics were collected",
    ),
    "no array": (put(0, STEM, "w", lambda w: "w"), "online_params: res_net50/initial_conv/w is a str"),
}


@pytest.mark.parametrize("case", WRONG)
def test_anything_else_than_the_network_is_named(tmp_path, small, case):
    _, trees, _ = small
    trees = tuple({module: dict(arrays) for module, arrays in tree.items()} for tree in trees)
    change, message = WRONG[case]
    change(trees)
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps({"experiment_state": {"online_params": trees[0], "online_state": trees[1]}}))
    with pytest.raises(ValueError, match=message):
        read_encoder(path)


def test_a_small_file_cannot_make_a_large_network(tmp_path, small):
    """The same bytes behind many blocks: refused before memory for them is asked for."""
    _, trees, _ = small
    params, state = dict(trees[0]), dict(trees[1])
    for tree in (params, state):
        for module, arrays in [*tree.items()]:
            for block in range(2, 40) if module.startswith(BLOCK) else ():
                tree[module.replace("/~/block_1/", f"/~/block_{block}/")] = arrays
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps({"online_params": params, "online_state": state}))
    assert 2 * path.stat().st_size < sum(array.nbytes for array in jax.tree.leaves((params, state)))
    with pytest.raises(ValueError, match="the same numbers for several tensors"):
        read_encoder(path)


def test_replicas_that_differ_are_told(tmp_path, small):
    _, trees, _ = small
    path = tmp_path / "x.pkl"
    params, state = jax.tree.map(lambda x: np.stack([x, x]), trees)
    params[STEM]["w"][1] += 1
    path.write_bytes(pickle.dumps({"online_params": params, "online_state": state}))
    model, facts = read_encoder(path)
    assert "2 replicas of every tensor; the first was taken, they differ in initial_conv/w." in facts["notes"][-1]
    kernel = trees[0][STEM]["w"].transpose(3, 2, 0, 1)
    np.testing.assert_array_equal(model.embedder.embedder.convolution.weight.detach().numpy(), kernel)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([1, 2], "holds no online_params. Found: nothing"),
        ({"experiment_state": {"w": 1}, "step": 1}, "holds no online_params. Found: w"),
        ({"online_params": {}, "online_state": {}}, "online_params is empty, or no Haiku tree"),
        ({"online_params": {"a": np.ones(2)}, "online_state": {}}, "online_params is empty, or no Haiku tree"),
    ],
)
def test_other_pickles_are_no_checkpoints(tmp_path, data, message):
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps(data))
    with pytest.raises(ValueError, match=message):
        read_encoder(path)
