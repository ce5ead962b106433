# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""A tiny encoder and views for the tests of pre-training networks."""

import pytest
import torch

from mscn_hf.models import MSCNConfig


@pytest.fixture
def encoder_config() -> MSCNConfig:
    """Return a two-stage MSCN network with 12 features."""
    return MSCNConfig(
        embedding_size=8, hidden_sizes=[8, 12], depths=[1, 1], layer_type="basic", stem="small", high_pass_sigma=1.0
    )


@pytest.fixture
def views() -> list[torch.Tensor]:
    """Return three views of five 16-pixel images."""
    generator = torch.Generator().manual_seed(7)
    return [torch.randn(5, 3, 16, 16, generator=generator) for _ in range(3)]
