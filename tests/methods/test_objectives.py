# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Pairs and directions of views, and objectives by name."""

import inspect

import pytest
import torch

from mscn_hf.methods.objectives import (
    OBJECTIVES,
    InfoNCE,
    ViewEmbeddings,
    build_objective,
    view_directions,
    view_pairs,
)


def test_lists_pairs() -> None:
    assert view_pairs(2, "all") == view_pairs(2, "first") == ((0, 1),)
    assert view_pairs(4, "all") == ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))
    assert view_pairs(4, "first") == ((0, 1), (0, 2), (0, 3))
    assert view_pairs(1, "all") == ()


def test_pairs_have_a_target_view() -> None:
    assert view_pairs(4, "all", [0, 1]) == ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3))
    assert view_pairs(4, "first", [2]) == ((0, 2),)


def test_refuses_unknown_pairings() -> None:
    with pytest.raises(ValueError, match="pairing must be one of all, first, got 'frist'"):
        view_pairs(2, "frist")


def test_lists_directions_from_online_to_target_views() -> None:
    pairs = view_pairs(3, "all", [0, 1])
    assert set(view_directions(pairs, [0, 1, 2], [0, 1])) == {(0, 1), (1, 0), (2, 0), (2, 1)}
    assert view_directions(pairs, [2], [0]) == ((2, 0),)
    with_self = view_directions(pairs, [0, 2], [0, 1], self_pairs=True)
    assert set(with_self) == {(0, 1), (2, 0), (2, 1), (0, 0)}
    assert len(with_self) == 4


def test_directions_present_are_those_of_this_call() -> None:
    z = torch.zeros(2, 3)
    views = ViewEmbeddings((None, z, z), (z, z, None), ((0, 1),), ((0, 1), (1, 0), (2, 0)))
    assert views.present() == [(1, 0), (2, 0)]


def test_builds_by_name_and_names_the_nearest() -> None:
    objective = build_objective("info_nce", {"temperature": 0.2}, 4)
    assert isinstance(objective, InfoNCE)
    assert objective.temperature == 0.2
    with pytest.raises(ValueError, match="unknown objective 'infonce'; did you mean 'info_nce'"):
        build_objective("infonce", {}, 4)
    with pytest.raises(ValueError, match=r"unknown setting 'temprature'.*did you mean 'temperature'"):
        build_objective("info_nce", {"temprature": 0.1}, 4)
    with pytest.raises(ValueError, match="unknown setting 'temperature' in objective_params of 'byol'; it takes none"):
        build_objective("byol", {"temperature": 0.1}, 4)
    with pytest.raises(ValueError, match=r"unknown setting 'size' in objective_params of 'msn'"):
        build_objective("msn", {"size": 4}, 4)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_is_built_with_its_size(name: str) -> None:
    objective = build_objective(name, {"classes": 3} if name == "cross_entropy" else {}, 4)
    assert type(objective) is OBJECTIVES[name]
    assert ("size" in inspect.signature(type(objective).__init__).parameters) == objective.takes_size
    assert [parameter.shape[-1] for parameter in objective.parameters() if parameter.ndim == 2] == (
        [4] if objective.takes_size else []
    )
