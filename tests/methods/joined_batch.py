# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""One computation for one process with the joined batch or for several with a part each; started by test_gather.py.

As a script: `python joined_batch.py RANK WORLD_SIZE STORE_FILE OUT_FILE`.
"""

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from mscn_hf.methods import SiameseForPreTraining
from mscn_hf.methods.objectives import Objective, ViewEmbeddings, build_objective, view_pairs
from mscn_hf.models import MSCNConfig

IMAGES = 10
CASES = [
    ("info_nce", "all", 2),
    ("info_nce", "all", 3),
    ("info_nce", "first", 4),
    ("byol", "all", 3),
    ("byol", "first", 3),
]


def draw(*shape: int, seed: int) -> Tensor:
    """Draw float64 normal numbers."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class SharedLinear(nn.Module):
    """Views through one Linear, then an objective: the smallest network that DDP can wrap."""

    def __init__(self, objective: Objective, pairing: str) -> None:
        super().__init__()
        self.linear = nn.Linear(7, 5, bias=False, dtype=torch.float64)
        self.linear.weight.data.copy_(draw(5, 7, seed=3))
        self.objective = objective
        self.pairing = pairing

    def forward(self, inputs: list[Tensor], targets: list[Tensor]) -> Tensor:
        online = tuple(self.linear(x_BF) for x_BF in inputs)
        pairs = view_pairs(len(inputs), self.pairing)
        return sum(self.objective(ViewEmbeddings(online=online, target=tuple(targets), pairs=pairs)).values())


def embedding_case(objective: str, pairing: str, views: int, rank: int, world: int) -> dict[str, Tensor]:
    """Return the loss and the gradients of given embeddings (inputs) and of the shared Linear."""
    mine = slice(rank * IMAGES // world, (rank + 1) * IMAGES // world)
    inputs = [draw(IMAGES, 7, seed=10 + view)[mine].requires_grad_() for view in range(views)]
    targets = [draw(IMAGES, 5, seed=20 + view)[mine] for view in range(views)]
    network = SharedLinear(build_objective(objective, {}), pairing)
    wrapped = DistributedDataParallel(network) if world > 1 else network
    loss = wrapped(inputs, targets)
    loss.backward()
    # DDP averages parameter gradients only; the gradient of the mean loss to an input is its share divided by R.
    input_gradients = torch.stack([x.grad for x in inputs], dim=1) / world
    return {"loss": loss.detach(), "weight": network.linear.weight.grad, "inputs": input_gradients}


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
    results = {f"{case}": embedding_case(*case, rank, world) for case in CASES}
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
