# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest
import torch

from mscn_hf.evaluation.analysis import feature_std, rankme


def test_rankme_against_numpy():
    z = np.random.default_rng(0).normal(size=(300, 40)) * np.geomspace(1, 1e-3, 40)
    values = np.linalg.svd(z, compute_uv=False)
    share = values / values.sum() + 1e-7
    assert rankme(torch.tensor(z)) == pytest.approx(math.exp(-(share * np.log(share)).sum()), rel=1e-9)


def test_rankme_of_known_spectra():
    assert rankme(torch.eye(12)) == pytest.approx(12, rel=1e-4)
    assert rankme(torch.ones(50, 8)) == pytest.approx(1, rel=1e-4)
    # Two equal directions and one of half their length: p = (.4, .4, .2).
    entropy = -(2 * 0.4 * math.log(0.4) + 0.2 * math.log(0.2))
    assert rankme(torch.diag(torch.tensor([1.0, 1.0, 0.5]))) == pytest.approx(math.exp(entropy), rel=1e-4)


def test_feature_std_tells_collapse_from_spread():
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(5000, 64, generator=generator)
    assert feature_std(z) == pytest.approx(1 / 8, rel=0.01)
    assert feature_std(torch.ones(10, 4)) == 0
    unit = (z / z.norm(dim=1, keepdim=True)).numpy().astype(np.float64)
    assert feature_std(z) == pytest.approx(unit.std(axis=0).mean(), rel=1e-6)


def test_bad_embeddings():
    with pytest.raises(ValueError, match="NaN or infinite"):
        rankme(torch.tensor([[1.0, float("nan")]]))
    with pytest.raises(ValueError, match=r"\(N, D\)"):
        feature_std(torch.ones(3))
    with pytest.raises(ValueError, match="every embedding is zero"):
        rankme(torch.zeros(3, 2))
