# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Pairs of views, and objectives by name."""

import pytest

from mscn_hf.methods.objectives import InfoNCE, build_objective, view_pairs


def test_lists_pairs() -> None:
    assert view_pairs(2, "all") == view_pairs(2, "first") == ((0, 1),)
    assert view_pairs(4, "all") == ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))
    assert view_pairs(4, "first") == ((0, 1), (0, 2), (0, 3))


def test_refuses_one_view_and_unknown_pairings() -> None:
    with pytest.raises(ValueError, match="at least 2 views of each image, got 1"):
        view_pairs(1, "all")
    with pytest.raises(ValueError, match="pairing must be one of all, first, got 'frist'"):
        view_pairs(2, "frist")


def test_builds_by_name_and_names_the_nearest() -> None:
    objective = build_objective("info_nce", {"temperature": 0.2})
    assert isinstance(objective, InfoNCE)
    assert objective.temperature == 0.2
    with pytest.raises(ValueError, match="unknown objective 'infonce'; did you mean 'info_nce'"):
        build_objective("infonce", {})
    with pytest.raises(ValueError, match=r"unknown setting 'temprature'.*did you mean 'temperature'"):
        build_objective("info_nce", {"temprature": 0.1})
    with pytest.raises(ValueError, match="unknown setting 'temperature' in objective_params of 'byol'; it takes none"):
        build_objective("byol", {"temperature": 0.1})
