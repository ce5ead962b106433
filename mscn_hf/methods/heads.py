# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""The multi-layer perceptrons between an encoder and an objective: projector and predictor."""

from collections.abc import Sequence

from torch import Tensor, nn

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU}


def mlp(
    in_features: int, sizes: Sequence[int], last_bn: bool = False, activation: str = "relu", last_bias: bool = False
) -> nn.Sequential:
    """Build Linear - BatchNorm - activation for every hidden size, then a Linear to the last size.

    Hidden layers have no bias, which batch norm would cancel, and nor have the output layers of SimCLR (batch norm
    follows) and of BYOL (`mlp` of google-deepmind/deepmind-research, byol/utils/networks.py).

    Args:
        in_features: size D of the input (B, D).
        sizes: hidden sizes, then the output size; `[4096, 256]` is one hidden layer, `[]` is the identity.
        last_bn: batch norm on the output too (SimCLR's projector), instead of a bare Linear (BYOL).
        activation: "relu" or "gelu" (MSN).
        last_bias: a bias in the last Linear (MSN).

    Raises:
        ValueError: if `sizes` holds something below 1, or for another activation.
    """
    if any(size < 1 for size in sizes):
        raise ValueError(f"a head needs a list of sizes of at least 1, such as [2048, 256], got {list(sizes)}")
    if activation not in ACTIVATIONS:
        raise ValueError(f"a head's activation must be one of {', '.join(ACTIVATIONS)}, got {activation!r}")
    layers: list[nn.Module] = []
    for hidden in sizes[:-1]:
        layers += [nn.Linear(in_features, hidden, bias=False), nn.BatchNorm1d(hidden), ACTIVATIONS[activation]()]
        in_features = hidden
    if sizes:
        layers.append(nn.Linear(in_features, sizes[-1], bias=last_bias))
        if last_bn:
            layers.append(nn.BatchNorm1d(sizes[-1]))
    return nn.Sequential(*layers)


class Predictor(nn.ModuleList):
    """The online network's extra head: one MLP for all views, or one for each kind of view.

    Args:
        size: D of the embeddings (B, D).
        sizes: hidden sizes, then the output size, as in `mlp`; no batch norm on the output.
        of_view: for view 0, 1, ... the number of its MLP; None: all views share one.

    Raises:
        ValueError: if `of_view` leaves out a number.
    """

    def __init__(self, size: int, sizes: Sequence[int], of_view: Sequence[int] | None = None) -> None:
        numbers = sorted(set(of_view)) if of_view is not None else [0]
        if not sizes:
            raise ValueError("a predictor needs a list of sizes such as [4096, 256], got none")
        if numbers != list(range(len(numbers))) or not numbers:
            raise ValueError(f"predictor_of_view must number its predictors 0, 1, ..., got {list(of_view or [])}")
        super().__init__(mlp(size, sizes) for _ in numbers)
        self.of_view = None if of_view is None else tuple(of_view)

    def forward(self, z_BD: Tensor, view: int = 0) -> Tensor:
        """Return the predictions (B, D) for the embeddings of one view."""
        return self[0 if self.of_view is None else self.of_view[view]](z_BD)
