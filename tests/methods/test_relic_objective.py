# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""ReLIC against loops over its equations, its gradients, and the sampling of negatives."""

import itertools
import math

import pytest
import torch
from scipy.stats import chisquare
from torch import Tensor

from mscn_hf.methods.objectives import ReLIC, ViewEmbeddings, view_directions, view_pairs
from mscn_hf.methods.objectives.relic import sample_negatives
from mscn_hf.views.draws import Draws

TERMS = ("contrast", "invariance")


def draw(views: int, seed: int, batch: int = 6, size: int = 5) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(batch, size, generator=generator, dtype=torch.float64).requires_grad_() for _ in range(views)]


def batch_of_views(
    views: int,
    target_views: list[int],
    self_pairs: bool = True,
    batch: int = 6,
    pairing: str = "all",
    dtype: torch.dtype = torch.float64,
) -> ViewEmbeddings:
    """Views whose target embeddings are near their online ones, so that positives count."""
    online = draw(views, seed=0, batch=batch)
    noise = draw(views, seed=1, batch=batch)
    targets = [(z + 0.5 * n).detach().to(dtype).requires_grad_() for z, n in zip(online, noise, strict=True)]
    pairs = view_pairs(views, pairing, target_views)
    return ViewEmbeddings(
        online=tuple(z.detach().to(dtype).requires_grad_() for z in online),
        target=tuple(z if view in target_views else None for view, z in enumerate(targets)),
        pairs=pairs,
        directions=view_directions(pairs, range(views), target_views, self_pairs),
        keys=Draws(3, 1, torch.arange(batch) + 100).keys_B,
    )


def only(views: ViewEmbeddings, view: int) -> ViewEmbeddings:
    online = tuple(z if number == view else None for number, z in enumerate(views.online))
    return ViewEmbeddings(online, views.target, views.pairs, views.directions, views.keys)


def gradients(terms: dict[str, Tensor], views: ViewEmbeddings) -> list[Tensor]:
    return list(torch.autograd.grad(sum(terms.values()), views.online))


def unit(row: Tensor) -> Tensor:
    return row / row.pow(2).sum().sqrt()


def softmax(scores: list[Tensor]) -> list[Tensor]:
    weights = [score.exp() for score in scores]
    return [weight / sum(weights) for weight in weights]


def loop(
    views: ViewEmbeddings, negatives: int | str, temperature: float, explicit: str = "kl", constant: dict | None = None
) -> tuple[Tensor, Tensor]:
    """Equations 1 to 4, one image, direction and negative at a time, without weights.

    explicit: what stands for the divergence: "kl": sum p (log p - log p'); "cross": -sum p log p', the part that has a
    gradient; with `constant` given, p is taken from it (filled where empty) as plain numbers.
    """
    contrast, invariance = [], []
    for number, (left, right) in enumerate(views.directions):
        o = [unit(row) for row in views.online[left]]
        t = [unit(row) for row in views.target[right].detach()]
        images = len(o)
        if negatives == "all":
            chosen = [[other for other in range(images) if other != image] for image in range(images)]
        else:
            chosen = sample_negatives(Draws.from_keys(views.keys), number, 0, images, negatives).tolist()
        for image in range(images):
            candidates = [image, *chosen[image]]
            p = softmax([torch.dot(o[image], t[m]) / temperature for m in candidates])
            swapped = softmax([torch.dot(t[image], o[m]) / temperature for m in candidates])
            contrast.append(-p[0].log())
            if constant is not None:
                p = constant.setdefault((number, image), [value.item() for value in p])
            if explicit == "kl":
                invariance.append(sum(a * (a.log() - b.log()) for a, b in zip(p, swapped, strict=True)))
            else:
                invariance.append(-sum(a * b.log() for a, b in zip(p, swapped, strict=True)))
    return sum(contrast) / len(contrast), sum(invariance) / len(invariance)


LAYOUTS = [(2, [0, 1], False), (3, [2], True), (6, [0, 1, 2, 3], True)]


@pytest.mark.parametrize("stop_gradient", ["entropy", "reference"])
@pytest.mark.parametrize("negatives", [3, "all"])
@pytest.mark.parametrize(("count", "target_views", "self_pairs"), LAYOUTS)
def test_equals_the_loop_in_value_and_gradient(count, target_views, self_pairs, negatives, stop_gradient) -> None:
    views = batch_of_views(count, target_views, self_pairs)
    objective = ReLIC(0.25, 0.3, 2.0, negatives, stop_gradient, self_pairs)
    terms = objective(views)
    contrast, divergence = loop(views, negatives, 0.25)
    assert tuple(terms) == TERMS
    assert divergence > 0.05
    torch.testing.assert_close(terms["contrast"], 0.3 * contrast, rtol=0, atol=1e-12)
    torch.testing.assert_close(terms["invariance"], 2.0 * divergence, rtol=0, atol=1e-12)
    # The gradient is that of the cross entropy of p and p', where p is a constant in UDA's form.
    constant = {} if stop_gradient == "reference" else None
    _, explicit = loop(views, negatives, 0.25, "cross", constant)
    expected = torch.autograd.grad(0.3 * contrast + 2.0 * explicit, views.online)
    for ours, wanted in zip(gradients(terms, views), expected, strict=True):
        assert wanted.abs().max() > 1e-3
        torch.testing.assert_close(ours, wanted, rtol=0, atol=1e-12)


def test_the_forms_of_stop_gradient_differ_in_gradient_only() -> None:
    views = batch_of_views(2, [0, 1])
    entropy, reference = (ReLIC(stop_gradient=form)(views) for form in ("entropy", "reference"))
    for term in TERMS:
        torch.testing.assert_close(entropy[term], reference[term], rtol=0, atol=1e-14)
    differences = [
        (a - b).abs().max() for a, b in zip(gradients(entropy, views), gradients(reference, views), strict=True)
    ]
    assert min(differences) > 1e-2


@pytest.mark.parametrize("likeness", [0.3, -0.3])
def test_what_the_forms_do_to_symmetric_similarities(likeness) -> None:
    """o_i . t_m = o_m . t_i: the two distributions agree, and the KL divergence is at its least, whatever its sign."""
    generator = torch.Generator().manual_seed(0)
    t_BD = torch.nn.functional.normalize(torch.randn(8, 5, generator=generator, dtype=torch.float64), dim=1)
    t_BD = torch.cat([t_BD, torch.zeros(8, 1, dtype=torch.float64)], dim=1)
    shared_BD = torch.eye(6, dtype=torch.float64)[-1:].expand(8, 6)  # what all online embeddings have in common
    pull = {}
    for form in ("entropy", "reference"):
        share = torch.tensor(likeness, dtype=torch.float64, requires_grad=True)
        o_BD = share * t_BD + (1 - share**2).sqrt() * shared_BD
        views = ViewEmbeddings((o_BD,), (t_BD,), ((0, 0),), ((0, 0),))
        terms = ReLIC(negatives="all", stop_gradient=form)(views)
        assert terms["invariance"].item() == pytest.approx(0, abs=1e-12)
        pull[form] = -torch.autograd.grad(terms["invariance"], share)[0].item()
    assert pull["reference"] == pytest.approx(0, abs=1e-12)
    assert math.copysign(pull["entropy"], likeness) == pull["entropy"] and abs(pull["entropy"]) > 0.1


@pytest.mark.parametrize("negatives", [1, 4, 50, "all"])
def test_contrast_of_a_network_that_tells_no_images_apart(negatives) -> None:
    same_BD = torch.ones(6, 5, dtype=torch.float64)
    views = ViewEmbeddings((same_BD,), (same_BD,), ((0, 0),), ((0, 0),), Draws(0, 0, torch.arange(6)).keys_B)
    objective = ReLIC(0.25, 0.3, 2.0, negatives)
    assert objective(views)["contrast"].item() == pytest.approx(objective.uninformed(6)["contrast"], abs=1e-12)


def test_number_of_directions_of_large_and_small_views() -> None:
    # 6 online times 4 target views; without self pairs 4 less.
    assert len(batch_of_views(6, [0, 1, 2, 3], True).directions) == 24
    assert len(batch_of_views(6, [0, 1, 2, 3], False).directions) == 20
    assert ReLIC().self_pairs
    assert not ReLIC(self_pairs=False).self_pairs


@pytest.mark.parametrize("negatives", [3, "all"])
def test_one_call_for_each_view_adds_up(negatives) -> None:
    views = batch_of_views(6, [0, 1, 2, 3])
    objective = ReLIC(negatives=negatives)
    whole = objective(views)
    whole_gradients = gradients(whole, views)
    parts = [objective(only(views, view)) for view in range(6)]
    for term in TERMS:
        torch.testing.assert_close(sum(part[term] for part in parts), whole[term], rtol=0, atol=1e-13)
    for view, part in enumerate(parts):
        (gradient,) = torch.autograd.grad(sum(part.values()), [views.online[view]])
        torch.testing.assert_close(gradient, whole_gradients[view], rtol=0, atol=1e-13)


def test_a_view_that_is_compared_with_none_adds_nothing() -> None:
    # Only view 0 has a target, and it is compared with the others alone.
    views = batch_of_views(3, [0], self_pairs=False, pairing="first")
    assert views.directions == ((1, 0), (2, 0))
    terms = ReLIC()(only(views, 0))
    assert {name: term.item() for name, term in terms.items()} == dict.fromkeys(TERMS, 0.0)
    (gradient,) = torch.autograd.grad(sum(terms.values()), [views.online[0]])
    assert not gradient.any()


def test_sends_no_gradient_to_targets() -> None:
    views = batch_of_views(3, [0, 1])
    sum(ReLIC()(views).values()).backward()
    assert all(z.grad is not None for z in views.online)
    assert all(z.grad is None for z in views.target[:2])


@pytest.mark.parametrize("negatives", [5, 10, 4096])
def test_no_more_negatives_than_other_images(negatives) -> None:
    views = batch_of_views(2, [0, 1])
    some, every = ReLIC(negatives=negatives)(views), ReLIC(negatives="all")(views)
    for term in TERMS:
        assert torch.equal(some[term], every[term])


def test_negatives_depend_on_keys_only() -> None:
    views = batch_of_views(2, [0, 1])
    objective = ReLIC(negatives=2)
    assert torch.equal(objective(views)["contrast"], objective(views)["contrast"])
    other = ViewEmbeddings(views.online, views.target, views.pairs, views.directions, views.keys + 1)
    assert not torch.equal(objective(views)["contrast"], objective(other)["contrast"])
    without = ViewEmbeddings(views.online, views.target, views.pairs, views.directions)
    with pytest.raises(ValueError, match="draws 2 negatives for each image from its key: pass keys"):
        objective(without)
    assert torch.isfinite(ReLIC(negatives="all")(without)["contrast"])


def test_starts_at_the_logarithm_of_the_number_of_candidates() -> None:
    # Random directions in many dimensions are nearly orthogonal: every candidate is equally likely, on both sides.
    generator = torch.Generator().manual_seed(0)
    online, target = (tuple(torch.randn(2, 64, 20_000, generator=generator)) for _ in range(2))
    views = ViewEmbeddings(online, target, ((0, 1),), ((0, 1), (1, 0)), Draws(0, 0, torch.arange(64)).keys_B)
    terms = ReLIC(temperature=1.0, contrast_scale=1.0, invariance_scale=1.0)(views)
    assert terms["contrast"].item() == pytest.approx(math.log(11), abs=2e-3)
    assert terms["invariance"].item() == pytest.approx(0.0, abs=1e-3)


def test_one_image_alone_has_no_loss() -> None:
    terms = ReLIC()(batch_of_views(2, [0, 1], batch=1))
    assert all(term.item() == 0 for term in terms.values())


def test_computes_in_float32_under_autocast() -> None:
    low = batch_of_views(2, [0, 1], dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        terms = ReLIC(negatives=3)(low)
    online, target = (tuple(z.double() for z in network) for network in (low.online, low.target))
    contrast, divergence = loop(ViewEmbeddings(online, target, low.pairs, low.directions, low.keys), 3, 0.2)
    assert {term.dtype for term in terms.values()} == {torch.float32}
    torch.testing.assert_close(terms["contrast"].double(), 0.3 * contrast, rtol=0, atol=2e-6)
    torch.testing.assert_close(terms["invariance"].double(), 2.0 * divergence, rtol=0, atol=2e-6)


def test_traces_without_graph_breaks() -> None:
    views = batch_of_views(2, [0, 1])
    objective = ReLIC(negatives=3)

    def loss(online: tuple[Tensor, ...], target: tuple[Tensor, ...], keys: Tensor) -> Tensor:
        return sum(objective(ViewEmbeddings(online, target, views.pairs, views.directions, keys)).values())

    arguments = (views.online, views.target, views.keys)
    compiled = torch.compile(loss, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(*arguments), loss(*arguments), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": 0.0}, "temperature must be a positive number, got 0.0"),
        ({"temperature": math.nan}, "temperature must be a positive number, got nan"),
        ({"contrast_scale": -1.0}, "contrast_scale must be a number of at least 0, got -1.0"),
        ({"invariance_scale": math.inf}, "invariance_scale must be a number of at least 0, got inf"),
        ({"negatives": 0}, "negatives must be an integer of at least 1, got 0"),
        ({"negatives": 2.5}, "negatives must be an integer of at least 1, got 2.5"),
        ({"negatives": "some"}, "negatives must be a number of images or 'all', got 'some'"),
        ({"stop_gradient": "both"}, "stop_gradient must be one of entropy, reference, got 'both'"),
    ],
)
def test_refuses_settings_out_of_range(settings, message) -> None:
    with pytest.raises(ValueError, match=message):
        ReLIC(**settings)


def test_refuses_views_without_directions() -> None:
    views = batch_of_views(2, [0, 1])
    with pytest.raises(ValueError, match=r"no pair of .* passed the target network"):
        ReLIC()(ViewEmbeddings(views.online, (None, None), views.pairs, (), views.keys))


@pytest.mark.parametrize(("joined", "n"), [(2, 1), (7, 3), (7, 6), (300, 10), (300, 65), (70, 69)])
def test_sampled_negatives_are_others_and_different(joined: int, n: int) -> None:
    draws = Draws(0, 0, torch.arange(joined))
    chosen = sample_negatives(draws, 5, 0, joined, n)
    assert chosen.shape == (joined, n)
    assert chosen.dtype == torch.int64
    for image, others in enumerate(chosen.tolist()):
        assert len(set(others)) == n
        assert set(others) <= set(range(joined)) - {image}


def test_every_set_of_negatives_is_equally_likely() -> None:
    # C(5, 3) = 10 sets of the 5 others of each of 6 images, in 1000 directions.
    draws = Draws(0, 0, torch.arange(6))
    chosen = torch.stack([sample_negatives(draws, number, 0, 6, 3) for number in range(1000)], dim=1)
    for image, rows in enumerate(chosen.sort(dim=2).values.tolist()):
        others = [other for other in range(6) if other != image]
        counts = dict.fromkeys(itertools.combinations(others, 3), 0)
        for row in rows:
            counts[tuple(row)] += 1
        assert chisquare(list(counts.values())).pvalue > 1e-3


@pytest.mark.parametrize("n", [10, 100])
def test_every_other_image_is_equally_likely_in_a_large_batch(n: int) -> None:
    draws = Draws(1, 0, torch.arange(500))
    chosen = torch.stack([sample_negatives(draws, number, 0, 500, n) for number in range(200)])
    assert chisquare(torch.bincount(chosen.flatten(), minlength=500)).pvalue > 1e-3
    # Counted from the image itself, where the step past it would show.
    steps = (chosen - torch.arange(500)[:, None]) % 500
    assert chisquare(torch.bincount(steps.flatten(), minlength=500)[1:]).pvalue > 1e-3


@pytest.mark.parametrize(("joined", "n"), [(12, 4), (120, 80)])
def test_negatives_are_the_same_in_any_part_of_the_batch(joined: int, n: int) -> None:
    draws = Draws(0, 2, torch.randperm(joined, generator=torch.Generator().manual_seed(0)))
    whole = sample_negatives(draws, 1, 0, joined, n)
    part = joined // 3
    firsts = (0, part, 2 * part)
    parts = [sample_negatives(draws.part(slice(first, first + part)), 1, first, joined, n) for first in firsts]
    assert torch.equal(torch.cat(parts), whole)
    assert not torch.equal(sample_negatives(draws, 2, 0, joined, n), whole)


@pytest.mark.parametrize("n", [0, 6])
def test_refuses_more_negatives_than_others(n: int) -> None:
    with pytest.raises(ValueError, match=f"cannot choose {n} of the 5 other images in a joined batch of 6"):
        sample_negatives(Draws(0, 0, torch.arange(6)), 0, 0, 6, n)
