# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Parameter groups and optimizers for self-supervised pre-training."""

from typing import Any

from timm.optim import Lars
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

OPTIMIZERS = ("lars", "sgd", "adamw")


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Split the trainable parameters into those with weight decay and LARS adaptation and those without either.

    Biases and the scales and shifts of norm layers are one-dimensional, and SimCLR, BYOL and Barlow Twins leave them
    out of both. The number of dimensions is asked, not the name: transformers' rule by name misses ResNet's
    `normalization` layers. Parameters that a module names in `no_weight_decay()` (timm's convention; MSN's prototypes)
    are left out too. Parameters without gradient, such as a target network's, are in no group.

    Args:
        model: any module.
        weight_decay: the decay of the first group, not negative.

    Returns:
        One dict for each group that has parameters, first the one with decay: `params`, `weight_decay`, and `names`
        in the same order as `params`.

    Raises:
        ValueError: if `weight_decay` is negative or nothing is trainable.
    """
    if weight_decay < 0:
        raise ValueError(f"weight_decay must not be negative, got {weight_decay}")
    trainable = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    if not trainable:
        raise ValueError(f"{type(model).__name__} has no trainable parameter")
    exempt = decay_exempt(model)
    groups = []
    for decays in (True, False):
        chosen = [(name, p) for name, p in trainable if (p.ndim > 1 and name not in exempt) == decays]
        if chosen:
            names, parameters = zip(*chosen, strict=True)
            groups.append(
                {"params": list(parameters), "weight_decay": weight_decay if decays else 0.0, "names": list(names)}
            )
    return groups


def decay_exempt(model: nn.Module) -> set[str]:
    """Full names of the parameters that a module of `model` names in `no_weight_decay()`."""
    return {
        f"{path}.{name}" if path else name
        for path, module in model.named_modules()
        if callable(getattr(module, "no_weight_decay", None))
        for name in module.no_weight_decay()  # type: ignore[operator]
    }


def build_optimizer(
    model: nn.Module,
    name: str,
    lr: float,
    weight_decay: float,
    momentum: float = 0.9,
    trust_coefficient: float = 1e-3,
) -> Optimizer:
    """Build an optimizer over `parameter_groups(model, weight_decay)`.

    "lars" is timm's, without Nesterov momentum and without clipping of the ratio. For a weight p with gradient g:

        r = trust_coefficient |p| / (|g| + weight_decay |p| + 1e-8)        1 where |p| or |g| is 0
        m = momentum m + r (g + weight_decay p)
        p = p - lr m

    The ratio divides by |g| + weight_decay |p| (You et al. 2017), where the code of Barlow Twins and BYOL divides by
    |g + weight_decay p|: equal for weight_decay = 0, and else smaller by at most a share of 2 weight_decay |p| / |g|.
    timm adapts a group by default only if its weight decay is not 0; here weights are adapted always and
    one-dimensional parameters never, so that a run with weight decay 0 still is LARS.

    "sgd" and "adamw" are torch's; AdamW takes `momentum` as its first beta.

    Args:
        model: the network; only trainable parameters are taken.
        name: "lars", "sgd" or "adamw".
        lr: the peak learning rate, after scaling with the batch size.
        weight_decay: for parameters with more than one dimension.
        momentum: in [0, 1).
        trust_coefficient: LARS's eta.

    Raises:
        ValueError: for another name, or a value that the optimizer refuses.
    """
    if name not in OPTIMIZERS:
        raise ValueError(f"optimizer must be one of {', '.join(OPTIMIZERS)}, got {name!r}")
    if not 0.0 <= momentum < 1.0:
        raise ValueError(f"momentum must lie in [0, 1), got {momentum}")
    groups = parameter_groups(model, weight_decay)
    if name == "sgd":
        return SGD(groups, lr=lr, momentum=momentum)
    if name == "adamw":
        return AdamW(groups, lr=lr, betas=(momentum, 0.999))
    if trust_coefficient <= 0:
        raise ValueError(f"trust_coefficient must be positive, got {trust_coefficient}")
    for group in groups:
        group["always_adapt"] = group is groups[0] and all(parameter.ndim > 1 for parameter in group["params"])
    return Lars(groups, lr=lr, momentum=momentum, nesterov=False, trust_coeff=trust_coefficient)
