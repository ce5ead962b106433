# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""One computation for one process with the joined batch or for several with a part each; started by test_gather.py.

As a script: `python joined_batch.py RANK WORLD_SIZE STORE_FILE OUT_FILE`.
"""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from mscn_hf.methods import SiameseForPreTraining
from mscn_hf.methods.objectives import ViewEmbeddings, build_objective, view_directions, view_pairs
from mscn_hf.models import MSCNConfig
from mscn_hf.views.draws import Draws

IMAGES = 10
SIZE = 5


@dataclass(frozen=True)
class Case:
    """An objective on the embeddings of some views; `target_views` pass the target network (None: all)."""

    objective: str
    pairing: str
    views: int
    target_views: tuple[int, ...] | None = None
    params: dict[str, Any] = field(default_factory=dict)


CASES = {
    "info_nce, 2 views": Case("info_nce", "all", 2),
    "info_nce, 3 views": Case("info_nce", "all", 3),
    "info_nce, first of 4 views": Case("info_nce", "first", 4),
    "byol, 3 views": Case("byol", "all", 3),
    "byol, first of 3 views": Case("byol", "first", 3),
    "relic, 3 negatives": Case("relic", "all", 3, (0, 1), {"negatives": 3}),
    "relic, 3 negatives, uda": Case("relic", "all", 2, None, {"negatives": 3, "stop_gradient": "reference"}),
    "relic, all negatives": Case("relic", "all", 3, (0, 1), {"negatives": "all", "self_pairs": False}),
    "vicreg": Case("vicreg", "all", 3),
    "barlow_twins": Case("barlow_twins", "all", 3),
    "msn": Case("msn", "all", 3, (0,), {"prototypes": 6, "temperature": 0.3}),
    "msn without sinkhorn": Case("msn", "all", 3, (0, 1), {"prototypes": 6, "sinkhorn_iterations": 0}),
    "cross_entropy": Case("cross_entropy", "all", 2, None, {"classes": 3}),
}


def draw(*shape: int, seed: int) -> Tensor:
    """Draw float64 normal numbers."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class SharedLinear(nn.Module):
    """Views through one Linear, then an objective: the smallest network that DDP can wrap."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.case = case
        self.linear = nn.Linear(7, SIZE, bias=False)
        self.objective = build_objective(case.objective, case.params, SIZE)
        self.double()
        for number, parameter in enumerate(self.parameters()):
            parameter.data.copy_(draw(*parameter.shape, seed=3 + number))

    def forward(self, inputs: list[Tensor], targets: list[Tensor], keys: Tensor, labels: Tensor) -> Tensor:
        case = self.case
        every = tuple(range(case.views))
        seen = case.target_views or every
        pairs = view_pairs(case.views, case.pairing, case.target_views)
        embeddings = ViewEmbeddings(
            online=tuple(self.linear(x_BF) for x_BF in inputs),
            target=tuple(z_BD if view in seen else None for view, z_BD in enumerate(targets)),
            pairs=pairs,
            directions=view_directions(pairs, every, seen, self.objective.self_pairs),
            keys=keys,
            labels=labels,
        )
        return sum(self.objective(embeddings).values())


def embedding_case(case: Case, rank: int, world: int) -> dict[str, Tensor]:
    """Return the loss and the gradients of the inputs, of the shared Linear and of the objective's parameters."""
    mine = slice(rank * IMAGES // world, (rank + 1) * IMAGES // world)
    inputs = [draw(IMAGES, 7, seed=10 + view)[mine].requires_grad_() for view in range(case.views)]
    targets = [draw(IMAGES, SIZE, seed=20 + view)[mine] for view in range(case.views)]
    keys, labels = Draws(1, 2, torch.arange(IMAGES)).keys_B[mine], torch.arange(IMAGES)[mine] % 3
    network = SharedLinear(case)
    wrapped = DistributedDataParallel(network) if world > 1 else network
    loss = wrapped(inputs, targets, keys, labels)
    loss.backward()
    # DDP averages parameter gradients only; the gradient of the mean loss to an input is its share divided by R.
    # None: a view that is no anchor
    gradients = [torch.zeros_like(x) if x.grad is None else x.grad for x in inputs]
    parameters = {name: parameter.grad for name, parameter in network.named_parameters()}
    return {"loss": loss.detach(), "inputs": torch.stack(gradients, dim=1) / world, **parameters}


def network_case(objective: str, rank: int, world: int) -> dict[str, Tensor]:
    """Return the loss and all gradients of a whole network whose batch norm is fixed (eval mode)."""
    torch.manual_seed(5)
    encoder = MSCNConfig(embedding_size=4, hidden_sizes=[4, 6], depths=[1, 1], layer_type="basic", stem="small")
    byol = {"predictor": [8, 5], "ema": 0.9, "projector_last_bn": False} if objective == "byol" else {}
    model = SiameseForPreTraining.from_encoder(encoder, objective=objective, projector=[8, 5], **byol)
    model = model.double().eval()
    mine = slice(rank * IMAGES // world, (rank + 1) * IMAGES // world)
    views = [draw(IMAGES, 3, 12, 12, seed=30 + view)[mine] for view in range(3)]
    wrapped = DistributedDataParallel(model) if world > 1 else model
    loss = wrapped(views=views).loss
    loss.backward()
    gradients = {name: value.grad for name, value in model.named_parameters() if value.grad is not None}
    return {"loss": loss.detach(), **gradients}


def compute(rank: int, world: int) -> dict[str, dict[str, Tensor]]:
    """Run every case."""
    results = {name: embedding_case(case, rank, world) for name, case in CASES.items()}
    for objective in ("info_nce", "byol"):
        results[f"network {objective}"] = network_case(objective, rank, world)
    return results


if __name__ == "__main__":
    torch.set_num_threads(1)
    process, processes = int(sys.argv[1]), int(sys.argv[2])
    store = dist.FileStore(sys.argv[3], processes)
    dist.init_process_group("gloo", store=store, rank=process, world_size=processes)
    torch.save(compute(process, processes), Path(sys.argv[4]))
    dist.destroy_process_group()
