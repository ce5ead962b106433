# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""MSN against loops over its definition and against lightly; its prototypes."""

import math

import pytest
import torch
from lightly.loss import MSNLoss
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel

from mscn_hf.methods.objectives import MSN, ViewEmbeddings, view_directions, view_pairs
from mscn_hf.methods.objectives.msn import sinkhorn

SIZE = 5


def build(dtype: torch.dtype = torch.float64, prototypes: int = 7, **settings: float) -> MSN:
    torch.manual_seed(0)
    return MSN(SIZE, prototypes, **settings).to(dtype)


def batch_of_views(views: int, target_views: list[int], batch: int = 6, dtype=torch.float64) -> ViewEmbeddings:
    """Views that all pass the online network but for a single target view, as MSN has it."""
    generator = torch.Generator().manual_seed(1)
    shared = torch.randn(batch, SIZE, generator=generator, dtype=torch.float64)
    noise = torch.randn(2 * views, batch, SIZE, generator=generator, dtype=torch.float64)
    online_views = (
        range(views) if len(target_views) > 1 else [view for view in range(views) if view != target_views[0]]
    )
    online = [
        (shared + 0.5 * noise[view]).to(dtype).requires_grad_() if view in online_views else None
        for view in range(views)
    ]
    target = [
        (shared + 0.5 * noise[views + view]).to(dtype).requires_grad_() if view in target_views else None
        for view in range(views)
    ]
    pairs = view_pairs(views, "all", target_views)
    directions = view_directions(pairs, online_views, target_views)
    return ViewEmbeddings(tuple(online), tuple(target), pairs, directions)


def anchors(views: ViewEmbeddings) -> list[Tensor]:
    return [z for z in views.online if z is not None]


def loop(views: ViewEmbeddings, objective: MSN) -> dict[str, Tensor]:
    """The loss, one image, view and prototype at a time; targets are plain numbers."""
    prototypes = [row / row.pow(2).sum().sqrt() for row in objective.prototypes]

    def probabilities(z: Tensor) -> list[Tensor]:
        scores = [(torch.dot(z, w) / z.pow(2).sum().sqrt() / objective.temperature).exp() for w in prototypes]
        return [score / sum(scores) for score in scores]

    def targets(z: Tensor) -> list[list[float]]:
        rows = []
        for row in z.detach():
            sharp = [p.item() ** (1 / objective.sharpening) for p in probabilities(row)]
            rows.append([p / sum(sharp) for p in sharp])
        for _ in range(objective.sinkhorn_iterations):
            shares = [sum(row[k] for row in rows) for k in range(len(prototypes))]
            rows = [[p / share for p, share in zip(row, shares, strict=True)] for row in rows]
            rows = [[p / sum(row) for p in row] for row in rows]
        return rows

    predicted = {i: [probabilities(row) for row in views.online[i]] for i in {i for i, _ in views.directions}}
    wanted = {k: targets(views.target[k]) for k in {k for _, k in views.directions}}
    cross_entropies = [
        -sum(q * p.log() for q, p in zip(q_row, p_row, strict=True))
        for i, k in views.directions
        for q_row, p_row in zip(wanted[k], predicted[i], strict=True)
    ]
    every = [row for rows in predicted.values() for row in rows]
    mean = [sum(row[k] for row in every) / len(every) for k in range(len(prototypes))]
    entropy = -sum(p * p.log() for p in mean)
    return {
        "msn": sum(cross_entropies) / len(cross_entropies),
        "mean_entropy": objective.mean_entropy * (math.log(len(prototypes)) - entropy),
    }


@pytest.mark.parametrize(("views", "target_views"), [(2, [0]), (4, [1]), (3, [0, 2])])
@pytest.mark.parametrize("iterations", [0, 3])
def test_equals_the_loop_in_value_and_gradient(views: int, target_views: list[int], iterations: int) -> None:
    objective = build(temperature=0.3, sharpening=0.4, sinkhorn_iterations=iterations, mean_entropy=0.7)
    embeddings = batch_of_views(views, target_views)
    terms, expected = objective(embeddings), loop(embeddings, objective)
    assert terms.keys() == expected.keys()
    inputs = [*anchors(embeddings), objective.prototypes]
    for name, value in expected.items():
        assert value > 1e-3
        torch.testing.assert_close(terms[name], value, rtol=0, atol=1e-12)
        for ours, wanted in zip(
            torch.autograd.grad(terms[name], inputs, retain_graph=True),
            torch.autograd.grad(value, inputs, retain_graph=True),
            strict=True,
        ):
            assert wanted.abs().max() > 1e-3
            torch.testing.assert_close(ours, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-6)])
@pytest.mark.parametrize("iterations", [0, 3])
def test_equals_lightly(dtype: torch.dtype, tolerance: float, iterations: int) -> None:
    objective = build(dtype, prototypes=32, sinkhorn_iterations=iterations)
    embeddings = batch_of_views(4, [0], batch=16, dtype=dtype)
    ours = sum(objective(embeddings).values())
    theirs = MSNLoss(sinkhorn_iterations=iterations)(
        torch.cat(anchors(embeddings)), embeddings.target[0], objective.prototypes
    )
    torch.testing.assert_close(ours, theirs, rtol=0, atol=tolerance)
    inputs = [*anchors(embeddings), objective.prototypes]
    for gradient, wanted in zip(torch.autograd.grad(ours, inputs), torch.autograd.grad(theirs, inputs), strict=True):
        torch.testing.assert_close(gradient, wanted, rtol=0, atol=tolerance)


def test_sends_no_gradient_to_targets() -> None:
    embeddings = batch_of_views(3, [0, 2])
    sum(build()(embeddings).values()).backward()
    assert all(z.grad is not None for z in anchors(embeddings))
    assert all(z is None or z.grad is None for z in embeddings.target)


def test_sinkhorn_shares_the_batch_among_prototypes() -> None:
    log_p = torch.randn(12, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).log_softmax(dim=1)
    p = sinkhorn(log_p, 50).exp()
    torch.testing.assert_close(p.sum(dim=1), torch.ones(12, dtype=torch.float64), rtol=0, atol=1e-12)
    torch.testing.assert_close(p.sum(dim=0), torch.full((4,), 3.0, dtype=torch.float64), rtol=0, atol=1e-6)
    assert torch.equal(sinkhorn(log_p, 0), log_p)


def test_mean_entropy_is_zero_when_all_prototypes_are_used_alike_and_log_k_when_one_is() -> None:
    objective = build(prototypes=SIZE, temperature=0.01)
    objective.prototypes.data.copy_(torch.eye(SIZE))
    each, first = torch.eye(SIZE, dtype=torch.float64), torch.eye(SIZE, dtype=torch.float64)[:1].expand(SIZE, SIZE)
    for z, expected in ((each, 0.0), (first, math.log(SIZE))):
        terms = objective(ViewEmbeddings((None, z), (each, None), ((0, 1),), ((1, 0),)))
        assert terms["mean_entropy"].item() == pytest.approx(expected, abs=1e-10)


def test_starts_near_the_logarithm_of_the_number_of_prototypes() -> None:
    torch.manual_seed(0)
    objective = MSN(4096, 256, temperature=1.0)
    online, target = torch.randn(2, 64, 4096)
    terms = objective(ViewEmbeddings((online, None), (None, target), ((0, 1),), ((0, 1),)))
    assert terms["msn"].item() == pytest.approx(math.log(256), abs=1e-2)
    assert terms["mean_entropy"].item() == pytest.approx(0.0, abs=1e-2)


def test_small_temperatures_do_not_underflow() -> None:
    objective = build(torch.float32, temperature=0.002)
    embeddings = batch_of_views(3, [0], dtype=torch.float32)
    terms = objective(embeddings)
    gradients = torch.autograd.grad(sum(terms.values()), [*anchors(embeddings), objective.prototypes])
    assert all(torch.isfinite(value).all() for value in [*terms.values(), *gradients])


def test_computes_in_float32_under_autocast() -> None:
    objective = build(torch.float32, temperature=0.3)
    low = batch_of_views(3, [0], dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        terms = objective(low)
    assert {term.dtype for term in terms.values()} == {torch.float32}
    online, target = ([None if z is None else z.double() for z in network] for network in (low.online, low.target))
    expected = loop(ViewEmbeddings(tuple(online), tuple(target), low.pairs, low.directions), objective.double())
    for name, value in expected.items():
        torch.testing.assert_close(terms[name].double(), value, rtol=0, atol=2e-6)


def test_prototypes_are_uniform_trained_and_without_weight_decay() -> None:
    torch.manual_seed(0)
    objective = MSN(16, 1024)
    prototypes = objective.prototypes
    assert prototypes.shape == (1024, 16)
    assert prototypes.requires_grad
    assert 0.249 < prototypes.max() <= 0.25
    assert -0.25 <= prototypes.min() < -0.249
    assert prototypes.std().item() == pytest.approx(0.25 / math.sqrt(3), rel=0.01)
    assert objective.no_weight_decay() == {"prototypes"}
    before = prototypes.clone()
    objective.reset_parameters()
    assert not torch.equal(prototypes, before)
    assert prototypes.abs().max() <= 0.25


class _Network(PreTrainedModel):
    """An objective in a transformers network: it is built without memory, then loaded, and what is missing drawn."""

    config_class = PreTrainedConfig

    def __init__(self, config: PreTrainedConfig) -> None:
        super().__init__(config)
        self.objective = MSN(16, 64)
        self.post_init()

    def _init_weights(self, module: torch.nn.Module) -> None:
        if isinstance(module, MSN):
            module.reset_parameters()


def test_loaded_prototypes_stay_and_missing_ones_are_drawn(tmp_path) -> None:
    network = _Network(PreTrainedConfig())
    network.save_pretrained(tmp_path)
    loaded = _Network.from_pretrained(tmp_path)
    assert torch.equal(loaded.objective.prototypes, network.objective.prototypes)
    missing = _Network.from_pretrained(None, config=PreTrainedConfig(), state_dict={})
    assert 0.2 < missing.objective.prototypes.abs().max() <= 0.25


def test_needs_all_views_in_one_call() -> None:
    embeddings = batch_of_views(3, [0])
    partial = ViewEmbeddings(
        (None, embeddings.online[1], None), embeddings.target, embeddings.pairs, embeddings.directions
    )
    with pytest.raises(ValueError, match="MSN needs all its views in one call, but view 2 is None"):
        build()(partial)
    with pytest.raises(ValueError, match=r"no pair of .* passed the target network"):
        build()(ViewEmbeddings(embeddings.online, (None, None, None), embeddings.pairs))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"prototypes": 1}, "prototypes must be an integer of at least 2, got 1"),
        ({"temperature": 0.0}, "temperature must be a positive number, got 0.0"),
        ({"sharpening": 1.5}, r"sharpening must lie in \(0, 1\], got 1.5"),
        ({"sinkhorn_iterations": -1}, "sinkhorn_iterations must be an integer of at least 0, got -1"),
        ({"mean_entropy": -1.0}, "mean_entropy must be a number of at least 0, got -1.0"),
    ],
)
def test_refuses_settings_out_of_range(settings, message) -> None:
    with pytest.raises(ValueError, match=message):
        MSN(SIZE, **settings)
