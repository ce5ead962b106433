# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Which views pass which network, and one view's backward pass before the next view's forward pass."""

import copy

import pytest
import torch
from transformers import ViTMSNConfig

from mscn_hf.methods import RELICV2_FIELDS, ReLICv2ForPreTraining, SiameseForPreTraining
from mscn_hf.methods.encoding import PooledEncoder, build_encoder, keep_patches
from mscn_hf.methods.objectives import view_directions, view_pairs
from mscn_hf.models import ReLICv2Config
from mscn_hf.views.draws import Draws

HEADS = {"projector": [16, 6], "projector_last_bn": False, "predictor": [16, 6], "ema": 0.9, "pairing": "all"}
RELIC = {**HEADS, "objective": "relic", "objective_params": {"negatives": 2}, "target_views": [0, 1]}
BYOL = {**HEADS, "objective": "byol", "target_views": [0, 1]}
MSN = {**HEADS, "objective": "msn", "objective_params": {"prototypes": 7}, "online_views": [1, 2], "target_views": [0]}
VIT = ViTMSNConfig(
    hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24, image_size=16, patch_size=4
)


def build(encoder_config, **fields) -> SiameseForPreTraining:
    torch.manual_seed(0)
    return SiameseForPreTraining.from_encoder(encoder_config, **fields).train()


def test_every_pair_has_a_target_view() -> None:
    assert view_pairs(4, "all", [0, 1]) == ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3))
    assert view_pairs(3, "first", [2]) == ((0, 2),)


def test_directions_go_from_online_to_target_views() -> None:
    pairs = view_pairs(3, "all", [0, 1])
    assert view_directions(pairs, range(3), [0, 1]) == ((0, 1), (1, 0), (2, 0), (2, 1))
    assert view_directions(pairs, [1, 2], [0]) == ((1, 0), (2, 0))
    assert view_directions(pairs, range(3), [0, 1], self_pairs=True)[-2:] == ((0, 0), (1, 1))


@pytest.mark.parametrize("fields", [RELIC, BYOL], ids=["relic", "byol"])
def test_views_one_by_one_give_the_loss_the_gradients_and_the_statistics(encoder_config, views, fields) -> None:
    views = [view.double() for view in (*views[:2], views[2][..., :8, :8])]
    whole = build(encoder_config, **fields).double()
    parts = copy.deepcopy(whole)
    keys = Draws(1, 2, torch.arange(5) * 3).keys_B
    expected = whole(views, keys=keys)
    expected.loss.backward()

    targets = parts.encode_targets(views)
    losses = []
    for view in range(3):
        output = parts(views, keys=keys, targets=targets, only=view)
        output.loss.backward()
        losses.append(output)
    total = sum(part.loss.detach() for part in losses)
    torch.testing.assert_close(total, expected.loss.detach(), rtol=1e-12, atol=0)
    for name, term in expected.losses.items():
        assert sum(float(part.losses[name]) for part in losses) == pytest.approx(float(term), rel=1e-12)
    ours = dict(parts.named_parameters())
    for name, parameter in whole.named_parameters():
        if parameter.grad is None:
            assert ours[name].grad is None
        else:
            torch.testing.assert_close(ours[name].grad, parameter.grad, rtol=1e-9, atol=1e-12)
    for (name, buffer), other in zip(whole.named_buffers(), parts.buffers(), strict=True):
        assert torch.equal(buffer, other), name


def test_one_view_alone_needs_an_objective_that_allows_it(encoder_config, views) -> None:
    model = build(encoder_config, projector=[16, 6], pairing="all")
    with pytest.raises(ValueError, match="info_nce compares online views with one another"):
        model(views, only=0)


def test_small_views_do_not_pass_the_target_and_are_not_compared(encoder_config, views) -> None:
    model = build(encoder_config, **RELIC)
    seen = []
    model.target_encoder.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].shape[-1]))
    model([*views[:2], views[2][..., :8, :8]])
    assert seen == [16, 16]


def test_target_views_do_not_pass_the_online_network_where_the_config_says_so(encoder_config, views) -> None:
    model = build(encoder_config, **MSN)
    online, target = [], []
    model.encoder.register_forward_hook(lambda module, inputs, output: online.append(inputs[0]))
    model.target_encoder.register_forward_hook(lambda module, inputs, output: target.append(inputs[0]))
    output = model(views)
    assert [image is view for image, view in zip(online, views[1:], strict=True)] == [True, True]
    assert len(target) == 1
    assert target[0] is views[0]
    assert len(output.embeddings) == 2


def test_simclr_takes_large_and_small_views(encoder_config, views) -> None:
    small = views[2][..., :8, :8]
    four = [*views[:2], small, small + 0.5]
    model = build(encoder_config, projector=[16, 6], pairing="all", target_views=[0, 1])
    every = copy.deepcopy(model)
    every.config.target_views = None
    with_all, with_large = every(four).loss.item(), model(four).loss.item()
    # The pair of the two small views alone makes the difference: 6 pairs against 5.
    small_pair = copy.deepcopy(model)
    small_pair.config.target_views = None
    small_loss = small_pair(four[2:]).loss.item()
    assert 6 * with_all == pytest.approx(5 * with_large + small_loss, rel=1e-5)


def test_keys_are_row_numbers_unless_given(encoder_config, views) -> None:
    model = build(encoder_config, **RELIC)
    other, third = copy.deepcopy(model), copy.deepcopy(model)
    rows = Draws(0, 0, torch.arange(5)).keys_B
    loss = model(views).loss
    assert torch.equal(loss, other(views, keys=rows).loss)
    assert not torch.equal(loss, third(views, keys=rows + 1).loss)


def test_relicv2_has_the_papers_heads_and_views() -> None:
    config = ReLICv2Config.resnet(50)
    with torch.device("meta"):
        model = ReLICv2ForPreTraining.from_encoder(config)
    assert model.config.target_views == [0, 1, 2, 3]
    assert [layer.weight.shape[0] for layer in model.projector if isinstance(layer, torch.nn.Linear)] == [4096, 256]
    assert [layer.weight.shape[0] for layer in model.predictor[0] if isinstance(layer, torch.nn.Linear)] == [4096, 256]
    assert model.objective.negatives == 10
    assert model.config.objective == RELICV2_FIELDS["objective"]
    with pytest.raises(ValueError, match="large_views must be at least 1, got 0"):
        ReLICv2ForPreTraining.from_encoder(config, large_views=0)


def test_supervised_training_is_an_objective_with_labels(encoder_config, views) -> None:
    params = {"classes": 3}
    model = build(encoder_config, objective="cross_entropy", objective_params=params, projector=[])
    labels = torch.tensor([0, 1, 2, 0, 1])
    output = model(views[:1], labels=labels)
    expected = torch.nn.functional.cross_entropy(model.objective.classifier(output.embeddings[0]), labels)
    assert float(output.loss) == pytest.approx(float(expected), rel=1e-6)
    with pytest.raises(ValueError, match="label"):
        model(views[:1])


# ---- vision transformers


def test_dropped_patches_are_not_seen() -> None:
    encoder = build_encoder(VIT.to_dict()).eval()
    pooled = PooledEncoder(encoder)
    images = torch.randn(3, 3, 16, 16)
    kept = keep_patches(encoder, images, 0.5, Draws(0, 0, torch.arange(3)).keys_B, view=1)
    assert kept.shape == (3, 8)
    features = pooled(encoder, images, kept)
    changed = images.clone()
    for image, patches in enumerate(kept.tolist()):
        for patch in set(range(16)) - set(patches):
            row, column = divmod(patch, 4)
            changed[image, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] += 5.0
    assert torch.equal(features, pooled(encoder, changed, kept))
    assert not torch.allclose(pooled(encoder, images), pooled(encoder, changed), atol=1e-3)
    # Nothing of it stays behind in the encoder.
    whole = encoder(images, interpolate_pos_encoding=True).last_hidden_state
    assert whole.shape[1] == 17
    assert torch.equal(whole[:, 0], pooled(encoder, images))


def test_kept_patches_belong_to_the_image() -> None:
    encoder = build_encoder(VIT.to_dict())
    images = torch.zeros(6, 3, 16, 16)
    keys = Draws(5, 1, torch.arange(6)).keys_B
    kept = keep_patches(encoder, images, 0.25, keys, view=0)
    assert kept.shape == (6, 12)
    assert torch.equal(kept[2:4], keep_patches(encoder, images[2:4], 0.25, keys[2:4], view=0))
    assert not torch.equal(kept, keep_patches(encoder, images, 0.25, keys, view=1))
    assert len({tuple(row) for row in kept.tolist()}) > 1
    assert all(len(set(row)) == 12 for row in kept.tolist())


def test_patches_are_dropped_in_training_only_and_by_the_online_network_only(views) -> None:
    fields = {**MSN, "patch_drop": [0.0, 0.5, 0.0], "publish": "target", "predictor": None}
    model = build(VIT, **fields)
    tokens = {"online": [], "target": []}
    for name, encoder in (("online", model.encoder), ("target", model.target_encoder)):
        encoder.layers[0].register_forward_hook(
            lambda module, inputs, output, name=name: tokens[name].append(inputs[0].shape[1])
        )
    model([*views[:2], views[2][..., :8, :8]])
    assert tokens == {"online": [9, 5], "target": [17]}
    assert model.published_encoder is model.target_encoder
    model.eval()(views)
    assert tokens["online"][2:] == [17, 17]


def test_patch_drop_needs_a_vision_transformer(encoder_config, views) -> None:
    model = build(encoder_config, **MSN, patch_drop=[0.0, 0.5, 0.0])
    with pytest.raises(ValueError, match="needs a vision transformer, got a 'mscn' encoder"):
        model(views)


def test_position_embeddings_do_not_start_at_zero() -> None:
    positions = build(VIT, **MSN).encoder.embeddings.position_embeddings
    assert float(positions.detach().std()) == pytest.approx(0.02, rel=0.2)


def test_a_saved_network_keeps_its_prototypes_and_positions(tmp_path) -> None:
    model = build(VIT, **MSN)
    model.save_pretrained(tmp_path)
    loaded = SiameseForPreTraining.from_pretrained(tmp_path)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name]), name


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({**BYOL, "publish": "both"}, "publish must be online, or target"),
        ({"publish": "target"}, "publish must be online, or target where the objective has a target network"),
        ({"online_views": [0]}, "has no target network: leave out online_views"),
        ({**BYOL, "target_views": []}, "target_views must name at least one view"),
        ({**BYOL, "target_views": [0, 0]}, "target_views must name at least one view, each once"),
        ({**BYOL, "patch_drop": [1.0]}, r"patch_drop must lie in \[0, 1\), got 1.0"),
        ({"projector_activation": "tanh"}, "projector_activation must be one of relu, gelu, got 'tanh'"),
    ],
)
def test_config_refuses_what_does_not_fit(encoder_config, fields, message) -> None:
    with pytest.raises(ValueError, match=message):
        SiameseForPreTraining.from_encoder(encoder_config, **fields)


def test_views_that_are_not_there_are_refused(encoder_config, views) -> None:
    model = build(encoder_config, **{**BYOL, "target_views": [0, 5]})
    with pytest.raises(ValueError, match="target_views names view 5, got 3 views"):
        model(views)
