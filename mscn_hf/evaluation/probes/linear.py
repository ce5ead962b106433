# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Linear probe on cached features: a grid of learning rates and weight decays trained side by side.

Shapes: N images, D features, K classes, G grid points.
"""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..cache import FeatureSet
from ..feature_protocol import FeatureProtocol, Fitted, Held
from ..scores import topk_correct
from ..settings import check, number, numbers
from ..task import Task
from .lbfgs import ROWS_AT_ONCE, principal_axes
from .logistic import fit_logistic

logger = logging.getLogger(__name__)

HELD_OUT = 0.1


@dataclass
class LinearSettings(FeatureProtocol):
    """Linear probe on cached features.

    Args:
        solver: `sgd` sweeps learning_rates x weight_decays; `lbfgs` solves each weight decay to convergence and
            knows no learning rate.
        learning_rates: relative to the curvature bound, see `fit_sgd`; up to 1 is stable.
        weight_decays: L2 strengths; scikit-learn's C is 1 / (weight_decay * N).
        epochs, min_steps: of SGD; whichever is more steps.
        batch_size: of SGD, in features.
        momentum: of SGD (Nesterov).
        standardize: features to zero mean and unit variance over train.
        held_out: share of each train class that the choice is made on where there is no validation split; the data
            set's own share by default, else 0.1.
    """

    uses_validation: ClassVar[bool] = True

    solver: str = "sgd"
    learning_rates: list[float] = field(default_factory=lambda: [1.0, 0.3, 0.1])
    weight_decays: list[float] = field(default_factory=lambda: [1.0, 0.1, 0.01, 1e-3, 1e-4, 1e-5])
    epochs: int = 50
    min_steps: int = 250
    batch_size: int = 2048
    momentum: float = 0.9
    standardize: bool = True
    held_out: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check("solver", self.solver, self.solver in ("sgd", "lbfgs"), "'sgd' or 'lbfgs'")
        for name in ("learning_rates", "weight_decays"):
            values = numbers(name, getattr(self, name))
            check(name, values, all(value > 0 for value in values), "positive")
            setattr(self, name, values)
        for name in ("epochs", "min_steps", "batch_size"):
            value = getattr(self, name)
            check(name, value, isinstance(value, int) and value >= 1, "a positive integer")
        self.momentum = number("momentum", self.momentum)
        check("momentum", self.momentum, 0 <= self.momentum < 1, "in [0, 1)")
        if self.held_out is not None:
            self.held_out = number("held_out", self.held_out)
            check("held_out", self.held_out, 0 < self.held_out < 1, "in (0, 1)")
        check("standardize", self.standardize, isinstance(self.standardize, bool), "true or false", boolean=True)

    def for_dataset(self, metrics: list[str] | None, held_out: float | None = None) -> LinearSettings:
        """See `Protocol.for_dataset`."""
        settings = super().for_dataset(metrics, held_out)
        return dataclasses.replace(settings, held_out=held_out if self.held_out is None else self.held_out)

    def grid(self) -> list[dict[str, float]]:
        """The grid points, as keyword dicts."""
        if self.solver == "lbfgs":
            return [{"weight_decay": decay} for decay in self.weight_decays]
        return [{"learning_rate": r, "weight_decay": d} for r in self.learning_rates for d in self.weight_decays]

    def edges(self, point: dict[str, float]) -> list[str]:
        """Which coordinates of a grid point lie at the end of their list, where a wider one might hold a better."""
        lists = {"learning_rate": self.learning_rates, "weight_decay": self.weight_decays}
        return [name for name, value in point.items() if len(lists[name]) > 2 and value in _ends(lists[name])]

    def fit(
        self, bank: FeatureSet, labels_N: np.ndarray, num_classes: int, task: Task, held: Held | None = None
    ) -> Fitted:
        """See `FeatureProtocol.fit`."""
        probe = fit_linear_probe(
            bank.features, labels_N, num_classes, self, held=held, seed=task.seed, device=task.encoder.device
        )
        names = " x ".join(self.grid()[0])
        if held is None:
            share = HELD_OUT if self.held_out is None else self.held_out
            where = f"{100 * share:g} % of train held out ({probe.held_out} images, stratified, seed {task.seed})"
            after = "all of train"
        else:
            assert task.validation is not None
            where = f"the validation split {task.validation.split!r} ({probe.held_out} images)"
            after = "train and validation"
        selection = f"{names} chosen from {len(self.grid())} on {where}; fitted again on {after}"
        return Fitted(probe.scores, selection, {"choice": probe.choice, "trials": probe.trials})


@dataclass
class LinearProbe:
    """A fitted classifier: scores = ((x - mean) / std) W + b.

    `choice` is the chosen grid point, `trials` every grid point with its accuracy on the held-out part of train, and
    `held_out` the size of that part.
    """

    mean_D: Tensor
    std_D: Tensor
    weight_DK: Tensor
    bias_K: Tensor
    choice: dict[str, Any] = field(default_factory=dict)
    trials: list[dict[str, Any]] = field(default_factory=list)
    held_out: int = 0

    def scores(self, features_ND: Tensor | np.ndarray) -> Tensor:
        """Class scores (M, K), read and computed piece by piece."""
        pieces = []
        for start in range(0, len(features_ND), ROWS_AT_ONCE):
            rows = as_tensor(features_ND[start : start + ROWS_AT_ONCE], self.mean_D.device)
            pieces.append(torch.addmm(self.bias_K, (rows - self.mean_D) / self.std_D, self.weight_DK))
        return torch.cat(pieces)


def fit_linear_probe(
    features_ND: Tensor | np.ndarray,
    labels_N: Tensor | np.ndarray,
    num_classes: int,
    settings: LinearSettings | None = None,
    *,
    held: Held | None = None,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> LinearProbe:
    """Chooses a grid point on a stratified held-out part of train, then fits it again on all of train.

    Where features and labels are given as `held`, the choice is made on them, and the last fit is on both. The test
    split is no argument of this function.

    Raises:
        ValueError: too few images to hold any out, or no grid point with a finite loss.
    """
    settings = settings or LinearSettings()
    features_ND = as_tensor(features_ND, device)
    labels_N = torch.as_tensor(labels_N).to(device=device, dtype=torch.int64)
    if held is None:
        share = HELD_OUT if settings.held_out is None else settings.held_out
        parts = split_stratified(labels_N.cpu().numpy(), share, seed)
    else:
        parts = np.arange(len(labels_N)), len(labels_N) + np.arange(len(held[1]))
        features_ND = torch.cat([features_ND, as_tensor(held[0], device)])
        labels_N = torch.cat([labels_N, torch.as_tensor(held[1]).to(labels_N)])
    fit_index, held_index = (torch.from_numpy(part).to(device) for part in parts)

    grid = settings.grid()
    mean_D, std_D = standardisation(features_ND[fit_index], settings.standardize)
    weight_GDK, bias_GK = _fit_grid(
        (features_ND[fit_index] - mean_D) / std_D, labels_N[fit_index], num_classes, grid, settings, seed
    )
    trials: list[dict[str, Any]] = []
    held_ND = (features_ND[held_index] - mean_D) / std_D
    for point, weight_DK, bias_K in zip(grid, weight_GDK, bias_GK, strict=True):
        scores_MK = torch.addmm(bias_K, held_ND, weight_DK)
        right = topk_correct(scores_MK, labels_N[held_index], 1).double().mean()
        loss = torch.nn.functional.cross_entropy(scores_MK.double(), labels_N[held_index])
        finite = bool(torch.isfinite(scores_MK).all())
        trials.append({**point, "held_out_accuracy": float(right) if finite else 0.0, "held_out_loss": _json(loss)})
    usable = [number for number, trial in enumerate(trials) if trial["held_out_loss"] is not None]
    if not usable:
        raise ValueError(f"every grid point of the linear probe diverged; lower the learning rates, got {grid}")
    # Equal accuracies are common on small held-out parts; the loss, which is finer, settles them.
    best = min(usable, key=lambda n: (-trials[n]["held_out_accuracy"], trials[n]["held_out_loss"]))

    mean_D, std_D = standardisation(features_ND, settings.standardize)
    x_ND = (features_ND - mean_D) / std_D
    weight_GDK, bias_GK = _fit_grid(x_ND, labels_N, num_classes, [grid[best]], settings, seed)
    if not bool(torch.isfinite(weight_GDK).all()):
        raise ValueError(f"the linear probe diverged on all of train at {grid[best]}; lower the learning rates")
    choice = {**trials[best], "at_edge_of_grid": settings.edges(grid[best])}
    return LinearProbe(mean_D, std_D, weight_GDK[0], bias_GK[0], choice, trials, len(parts[1]))


def split_stratified(labels_N: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of a fit part and a held-out part with `share` of each class, at least one image of it in each.

    A class with a single image stays in the fit part.

    Raises:
        ValueError: nothing can be held out.
    """
    random = np.random.default_rng(seed)
    held = []
    for label in np.unique(labels_N):
        members = random.permutation(np.flatnonzero(labels_N == label))
        count = min(len(members) - 1, max(1, round(share * len(members))))
        held.append(members[:count])
    held_out = np.sort(np.concatenate(held))
    if len(held_out) == 0:
        raise ValueError(f"none of {len(labels_N)} train images can be held out: every class has a single image")
    mask = np.ones(len(labels_N), dtype=bool)
    mask[held_out] = False
    return np.flatnonzero(mask), held_out


def _fit_grid(
    x_ND: Tensor,
    labels_N: Tensor,
    num_classes: int,
    grid: Sequence[dict[str, float]],
    settings: LinearSettings,
    seed: int,
) -> tuple[Tensor, Tensor]:
    decays = [point["weight_decay"] for point in grid]
    if settings.solver == "lbfgs":
        fit = fit_logistic(x_ND, labels_N, decays, num_classes)
        return fit.weight_GDK.float(), fit.bias_GK.float()
    rates = [point["learning_rate"] for point in grid]
    return fit_sgd(
        x_ND,
        labels_N,
        rates,
        decays,
        num_classes,
        epochs=settings.epochs,
        min_steps=settings.min_steps,
        batch_size=settings.batch_size,
        momentum=settings.momentum,
        seed=seed,
    )


def fit_sgd(
    x_ND: Tensor,
    labels_N: Tensor,
    learning_rates_G: Sequence[float],
    weight_decays_G: Sequence[float],
    num_classes: int,
    *,
    epochs: int = 50,
    min_steps: int = 250,
    batch_size: int = 2048,
    momentum: float = 0.9,
    seed: int = 0,
) -> tuple[Tensor, Tensor]:
    """SGD with Nesterov momentum and a cosine to zero on G linear classifiers at once, one matrix product for all.

    Each minimises mean cross-entropy + weight_decay / 2 * sum W^2. Steps are taken along the eigenvectors of the
    features' covariance and divided by 1/2 lambda + weight_decay, a bound on the curvature (Böhning 1992): a learning
    rate up to 1 is stable on any features, and badly conditioned ones converge in a few hundred steps. Plain SGD is
    still short of the minimum after fifty epochs at small weight decay.

    Returns:
        weight_GDK, bias_GK in float32; a classifier that diverged holds NaN or infinite values, the others are
        untouched by it.
    """
    count, device = len(learning_rates_G), x_ND.device
    mean_D, turn_DD, variance_D = principal_axes(x_ND)
    z_ND = x_ND - mean_D if turn_DD is None else (x_ND - mean_D) @ turn_DD
    dim = z_ND.shape[1]
    rate_G = torch.tensor(list(learning_rates_G), device=device)
    decay_G1 = torch.tensor(list(weight_decays_G), device=device)[:, None]
    scale_DG1 = (1 / (0.5 * variance_D.float()[:, None] + decay_G1[:, 0]))[:, :, None]
    weight_DGK = torch.zeros(dim, count, num_classes, device=device)
    bias_GK = torch.zeros(count, num_classes, device=device)
    weight_speed, bias_speed = torch.zeros_like(weight_DGK), torch.zeros_like(bias_GK)

    generator = torch.Generator().manual_seed(seed)
    steps_an_epoch = math.ceil(len(z_ND) / batch_size)
    steps = max(min_steps, epochs * steps_an_epoch)
    order = torch.empty(0, dtype=torch.int64)
    for step in range(steps):
        if step % steps_an_epoch == 0:
            order = torch.randperm(len(z_ND), generator=generator).to(device)
        rows = order[(step % steps_an_epoch) * batch_size :][:batch_size]
        z_BD, labels_B = z_ND[rows], labels_N[rows]
        logits_BGK = (z_BD @ weight_DGK.view(dim, -1)).view(-1, count, num_classes) + bias_GK
        error_BGK = logits_BGK.softmax(dim=2)
        index_BG1 = labels_B[:, None, None].expand(-1, count, 1)
        error_BGK.scatter_add_(2, index_BG1, -torch.ones_like(index_BG1, dtype=error_BGK.dtype))
        weight_gradient = (z_BD.T @ error_BGK.flatten(1)).view_as(weight_DGK) / len(rows) + decay_G1 * weight_DGK
        bias_gradient = error_BGK.mean(dim=0)
        weight_gradient *= scale_DG1
        weight_speed.mul_(momentum).add_(weight_gradient)
        bias_speed.mul_(momentum).add_(bias_gradient)
        rate_G1 = rate_G[:, None] * (0.5 * (1 + math.cos(math.pi * step / steps)))
        weight_DGK -= rate_G1 * (weight_gradient + momentum * weight_speed)
        bias_GK -= rate_G1 * (bias_gradient + momentum * bias_speed)

    weight_GDK = weight_DGK.transpose(0, 1).contiguous()
    weight_GDK = weight_GDK if turn_DD is None else turn_DD @ weight_GDK
    return weight_GDK, bias_GK - mean_D @ weight_GDK


def standardisation(features_ND: Tensor, wanted: bool) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (D,) of train, or 0 and 1 where not `wanted`."""
    dim = features_ND.shape[1]
    if not wanted:
        return features_ND.new_zeros(dim), features_ND.new_ones(dim)
    # In pieces: a copy of all features in float64 is twice as large as they are.
    mean_D = sum(rows.double().sum(dim=0) for rows in features_ND.split(ROWS_AT_ONCE)) / len(features_ND)
    square_D = sum((rows.double() - mean_D).square().sum(dim=0) for rows in features_ND.split(ROWS_AT_ONCE))
    std_D = (square_D / len(features_ND)).sqrt()
    # A coordinate that is constant in train (dead channel) has nothing to say; dividing by rounding noise would.
    std_D[std_D <= 1e-6 * mean_D.abs()] = float("inf")
    return mean_D.float(), std_D.float()


def as_tensor(features: Tensor | np.ndarray, device: torch.device | str) -> Tensor:
    """Features in float32 on a device; of a memory-mapped array a copy."""
    features = torch.from_numpy(np.array(features)) if isinstance(features, np.ndarray) else features
    return features.to(device=device, dtype=torch.float32)


def _json(loss: Tensor) -> float | None:
    return float(loss) if math.isfinite(float(loss)) else None


def _ends(values: list[float]) -> tuple[float, float]:
    return min(values), max(values)
