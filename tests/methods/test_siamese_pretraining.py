# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""The pre-training network: what it computes, what it trains, what it saves."""

import copy
from pathlib import Path

import pytest
import torch
from transformers import AutoModel, ResNetConfig

from mscn_hf.methods import MSCN_FIELDS, MSCNForPreTraining, SiameseConfig, SiameseForPreTraining
from mscn_hf.methods.objectives import ViewEmbeddings, build_objective, view_directions, view_pairs
from mscn_hf.models import MSCNConfig

SIMCLR = {"projector": [16, 6], "pairing": "all"}
BYOL = {"objective": "byol", "projector": [16, 6], "projector_last_bn": False, "predictor": [16, 6], "ema": 0.9}


def build(encoder_config: MSCNConfig, **fields) -> SiameseForPreTraining:
    torch.manual_seed(0)
    return SiameseForPreTraining.from_encoder(encoder_config, **fields).train()


@pytest.mark.parametrize("fields", [SIMCLR, BYOL, {**BYOL, "pairing": "all"}])
def test_loss_is_the_objective_of_separately_encoded_views(encoder_config, views, fields) -> None:
    model = build(encoder_config, **fields)
    other = copy.deepcopy(model)
    output = model(views=views)
    online, target = [], []
    for images in views:
        z = other.projector(other.encoder(images, apply_filter=False).pooler_output.flatten(1))
        online.append(z if other.predictor is None else other.predictor[0](z))
        if other.target_encoder is None:
            target.append(None)
        else:
            features = other.target_encoder(images, apply_filter=False).pooler_output.flatten(1)
            target.append(other.target_projector(features))
    objective = build_objective(other.config.objective, {}, 6)
    pairs = view_pairs(3, other.config.pairing)
    ways = view_directions(pairs, range(3), range(3))
    terms = objective(ViewEmbeddings(online=tuple(online), target=tuple(target), pairs=pairs, directions=ways))
    assert torch.equal(output.loss, sum(terms.values()))
    assert output.losses.keys() == terms.keys()
    assert [tuple(z.shape) for z in output.embeddings] == [(5, 12)] * 3
    assert not any(z.requires_grad for z in output.embeddings)


def test_views_pass_beside_the_filter(encoder_config, views) -> None:
    model = build(encoder_config, **SIMCLR).eval()
    features = model(views=views).embeddings[0]
    assert torch.equal(features, model.encoder(views[0], apply_filter=False).pooler_output.flatten(1))
    assert not torch.allclose(features, model.encoder(views[0]).pooler_output.flatten(1), atol=1e-3)


def test_any_encoder_with_pooled_features_serves(views) -> None:
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 12], depths=[1, 1], layer_type="basic")
    model = build(config, **SIMCLR)
    assert type(model.encoder).__name__ == "ResNetModel"
    model(views=views).loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("fields", [SIMCLR, BYOL])
def test_every_view_is_one_batch_norm_pass_and_encoded_once(encoder_config, views, fields) -> None:
    model = build(encoder_config, **fields)
    batches = []
    model.encoder.register_forward_hook(lambda module, inputs, output: batches.append(len(inputs[0])))
    model(views=views)
    assert batches == [5, 5, 5]
    counts = {name: int(value) for name, value in model.named_buffers() if name.endswith("num_batches_tracked")}
    assert set(counts.values()) == {3}
    assert any(name.startswith("target_projector") for name in counts) == (model.target_encoder is not None)


@pytest.mark.parametrize("fields", [BYOL, {**BYOL, "predictor_of_view": [0, 1, 1]}])
def test_gradient_reaches_the_online_network_only(encoder_config, views, fields) -> None:
    model = build(encoder_config, **fields)
    model(views=views).loss.backward()
    for name, parameter in model.named_parameters():
        is_target = name.startswith("target_")
        assert parameter.requires_grad != is_target, name
        assert (parameter.grad is None) == is_target, name
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert all(gradient.abs().sum() > 0 for gradient in gradients)


def test_target_starts_equal_and_moves_parameters_only(encoder_config, views) -> None:
    model = build(encoder_config, **BYOL)
    heads = [(model.encoder, model.target_encoder), (model.projector, model.target_projector)]
    for online, target in heads:
        for name, value in online.state_dict().items():
            assert torch.equal(value, target.state_dict()[name]), name
    model(views=views)
    with torch.no_grad():
        for parameter in [*model.encoder.parameters(), *model.projector.parameters()]:
            parameter.add_(torch.randn_like(parameter))
        for norm in (model.encoder, model.projector):
            for buffer in norm.buffers():
                buffer.add_(1)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.update_target(0.75)
    after = model.state_dict()
    parameters = dict(model.named_parameters())
    for name, value in after.items():
        if name.startswith("target_") and name in parameters:
            expected = 0.75 * before[name] + 0.25 * before[name.removeprefix("target_")]
            torch.testing.assert_close(value, expected, rtol=1e-6, atol=1e-6)
            assert not torch.equal(value, before[name]), name
        else:
            assert torch.equal(value, before[name]), name
    model.reset_target()
    for online, target in heads:
        for name, value in online.state_dict().items():
            assert torch.equal(value, target.state_dict()[name]), name


def test_update_target_without_target_is_refused(encoder_config) -> None:
    with pytest.raises(ValueError, match="'info_nce' has no target network"):
        build(encoder_config, **SIMCLR).update_target(0.9)


@pytest.mark.parametrize("fields", [SIMCLR, BYOL])
def test_save_and_load_round_trip(encoder_config, views, fields, tmp_path: Path) -> None:
    model = build(encoder_config, **fields)
    model(views=views)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(tmp_path)
    loaded, info = SiameseForPreTraining.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert loaded.config.to_dict()["encoder"] == model.config.to_dict()["encoder"]
    assert loaded.state_dict().keys() == model.state_dict().keys()
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name
    for name, value in model.named_buffers():
        assert torch.equal(loaded.get_buffer(name), value), name
    for name, parameter in loaded.named_parameters():
        assert parameter.requires_grad != name.startswith("target_"), name
    assert torch.equal(loaded.train()(views=views).loss, model(views=views).loss)


def test_encoder_is_published_by_itself(encoder_config, views, tmp_path: Path) -> None:
    model = build(encoder_config, **BYOL)
    model(views=views)
    model.encoder.save_pretrained(tmp_path)
    published = AutoModel.from_pretrained(tmp_path)
    assert type(published) is type(model.encoder)
    assert published.config.high_pass_sigma == 1.0
    assert torch.equal(published(views[0]).pooler_output, model.encoder.eval()(views[0]).pooler_output)


def test_batch_of_one_is_refused_in_training_only(encoder_config, views) -> None:
    model = build(encoder_config, **SIMCLR)
    single = [images[:1] for images in views]
    with pytest.raises(ValueError, match="batch size of at least 2 on each process, got 1"):
        model(views=single)
    assert torch.isfinite(model.eval()(views=single).loss)


def test_views_must_hold_the_same_images(encoder_config, views) -> None:
    model = build(encoder_config, **SIMCLR)
    with pytest.raises(ValueError, match=r"batches of \[5, 5, 4\]"):
        model(views=[*views[:2], views[2][:4]])
    with pytest.raises(ValueError, match="at least 2 views of each image, got 1"):
        model(views=views[:1])


def test_large_and_small_views_with_large_targets(encoder_config, views) -> None:
    model = build(encoder_config, **BYOL, target_views=[0, 1], predictor_of_view=[0, 0, 1])
    batches = []
    model.target_encoder.register_forward_hook(lambda module, inputs, output: batches.append(inputs[0].shape[-1]))
    output = model(views=[*views[:2], views[2][..., :8, :8]])
    assert batches == [16, 16]
    assert torch.isfinite(output.loss)
    with pytest.raises(ValueError, match="predictor_of_view has values for 3 views, got 2"):
        model(views=views[:2])


def test_traces_without_graph_breaks(encoder_config, views) -> None:
    for fields in (SIMCLR, BYOL):
        model = build(encoder_config, **fields)
        compiled = torch.compile(copy.deepcopy(model), backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled(views=views).loss, model(views=views).loss, rtol=0, atol=1e-6)


def test_float64_stays_float64(encoder_config, views) -> None:
    loss = build(encoder_config, **BYOL).double()(views=[images.double() for images in views]).loss
    assert loss.dtype == torch.float64


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"objective": "byol"}, "'byol' needs a target network: set ema"),
        ({"ema": 0.99}, r"'info_nce' has no target network: leave out ema \(0.99\)"),
        ({**BYOL, "ema": 1.5}, r"ema must lie in \[0, 1\], got 1.5"),
        ({**BYOL, "predictor": [16, 5]}, r"predictor must end in the projector's size 6, got \[16, 5\]"),
        ({"pairing": "some"}, "pairing must be one of all, first, got 'some'"),
        ({"objective_params": {"temperature": -1.0}}, "temperature must be a positive number, got -1.0"),
        ({"predictor_of_view": [0, 1]}, r"predictor_of_view is \[0, 1\] but there is no predictor"),
    ],
)
def test_config_refuses_what_does_not_fit(encoder_config, fields, message) -> None:
    with pytest.raises(ValueError, match=message):
        SiameseConfig.from_encoder(encoder_config, **fields)


def test_a_network_needs_an_encoder() -> None:
    with pytest.raises(ValueError, match="encoder must be an encoder config's to_dict"):
        SiameseForPreTraining(SiameseConfig())


@pytest.mark.parametrize(
    ("objective", "sizes"),
    [
        ("info_nce", {"projector": [(2048, 12), (256, 2048)]}),
        (
            "byol",
            {"projector": [(4096, 12), (256, 4096)], "predictor": [(4096, 256), (256, 4096)]},
        ),
    ],
)
def test_mscn_defaults_are_the_papers(encoder_config, objective, sizes) -> None:
    model = MSCNForPreTraining.from_encoder(encoder_config, objective=objective)
    config = model.config
    assert config.pairing == "first"
    assert config.ema == {"info_nce": None, "byol": 0.996}[objective]
    assert config.projector_last_bn == (objective == "info_nce")
    assert getattr(model.objective, "temperature", 0.1) == 0.1
    assert (model.predictor is None) == ("predictor" not in sizes)
    for name, expected in sizes.items():
        found = [tuple(m.weight.shape) for m in getattr(model, name).modules() if isinstance(m, torch.nn.Linear)]
        assert found == expected
    assert MSCNForPreTraining.from_encoder(encoder_config, objective, projector=[8, 256]).config.projector == [8, 256]


def test_mscn_refuses_other_objectives(encoder_config) -> None:
    with pytest.raises(ValueError, match="one of info_nce, byol, got 'msn'"):
        MSCNForPreTraining.from_encoder(encoder_config, objective="msn")
    assert set(MSCN_FIELDS) == {"info_nce", "byol"}


def test_mscn_encoder_is_the_papers_by_default() -> None:
    with torch.device("meta"):
        model = MSCNForPreTraining.from_encoder()
    assert model.encoder.config.hidden_sizes == [256, 512, 1024, 2048]
    assert model.encoder.config.high_pass_sigma == 5.0
