# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Saliency from how far a region ranks below the image's four sides.

Shapes: H, W the image's sides in pixels, N superpixels, S queries.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .superpixels import SegmentedImage, Superpixels, minmax, two_rings


@dataclass(frozen=True)
class ManifoldRanking:
    """Yang et al. 2013: rank regions by closeness to each side of the image, then to what is far from all four.

    With d_ij the colour distance of regions in CIELAB, d^ the same brought to [0, 1] over the graph's links:

        w_ij = exp(-d^_ij / sigma^2) for links, else 0; D = diag(sum_j w_ij)                  (section 3)
        A    = (D - alpha W)^-1, its diagonal set to 0;  f* = A y                             (section 2)
        s_t  = 1 - minmax(A y_t), y_t = 1 at the top side; so s_b, s_l, s_r;  s = s_t s_b s_l s_r  (section 4.1)
        s    = minmax(A y), y = 1 where the first s is at least its mean                      (section 4.2)

    Time and memory grow with the square of the number of superpixels, the time of the inverse with the cube.

    Args:
        superpixels: how many.
        compactness: of the superpixels, the authors' program's.
        alpha: weight of smoothness against the query.
        sigma2: scale of weights.
    """

    name: ClassVar[str] = "manifold_ranking"
    superpixels: int = 200
    compactness: float = 20.0
    alpha: float = 0.99
    sigma2: float = 0.1

    def __call__(self, image: SegmentedImage) -> np.ndarray:
        """Saliency float32 (H, W) in [0, 1], of largest value 1; all 0 where nothing stands out."""
        regions = image.superpixels(self.superpixels, self.compactness)
        return regions.paint(self.of_superpixels(regions)).astype(np.float32)

    def of_superpixels(self, regions: Superpixels) -> np.ndarray:
        """Saliency of each superpixel, float64 (N,), as `__call__`'s."""
        links_NN = graph_links(regions.adjacency_NN, regions.border())
        weight_NN = affinity(regions.lab_distance_NN, links_NN, self.sigma2)
        ranking_NN = ranking_matrix(weight_NN, self.alpha)
        first_N = background_stage(ranking_NN, np.stack(regions.border_sides(), axis=1))
        return foreground_stage(ranking_NN, first_N)


def graph_links(adjacency_NN: np.ndarray, border_N: np.ndarray) -> np.ndarray:
    """bool (N, N), diagonal False: neighbours and their neighbours, where all border regions are neighbours.

    So a region beside the border is linked with the whole border. Source: section 3 and the authors' program.
    """
    return two_rings(adjacency_NN | np.logical_and.outer(border_N, border_N))


def affinity(lab_distance_NN: np.ndarray, links_NN: np.ndarray, sigma2: float = 0.1) -> np.ndarray:
    """w (N, N): exp(-distance / sigma2) of links, distances brought to [0, 1] (section 3); all 0 if none differ."""
    weight_NN = np.zeros(links_NN.shape)
    if links_NN.any():
        scaled = minmax(lab_distance_NN[links_NN])
        if scaled.any():
            weight_NN[links_NN] = np.exp(-scaled / sigma2)
    return weight_NN


def ranking_matrix(weight_NN: np.ndarray, alpha: float = 0.99) -> np.ndarray:
    """A (N, N): (D - alpha W)^-1 with diagonal 0, so that a query does not rank itself (section 2)."""
    degree_N = weight_NN.sum(axis=1)
    # a region without links ranks nothing and is ranked by none, whatever stands on its diagonal
    degree_N[degree_N == 0] = 1
    ranking_NN = np.linalg.inv(np.diag(degree_N) - alpha * weight_NN)
    np.fill_diagonal(ranking_NN, 0)
    return ranking_NN


def background_stage(ranking_NN: np.ndarray, side_NS: np.ndarray) -> np.ndarray:
    """Saliency (N,) in [0, 1] of the first stage: product over sides of 1 - minmax(A y) (section 4.1).

    Args:
        ranking_NN: A.
        side_NS: bool, the regions at each side.
    """
    ranked_NS = ranking_NN @ side_NS.astype(np.float64)
    unlike_NS = np.stack([1 - minmax(ranked_N) for ranked_N in ranked_NS.T], axis=1)
    return minmax(unlike_NS.prod(axis=1))


def foreground_stage(ranking_NN: np.ndarray, first_N: np.ndarray) -> np.ndarray:
    """Saliency (N,) in [0, 1] of the second stage: ranks by the regions at or above the first's mean (section 4.2)."""
    if not first_N.any():
        return np.zeros(len(first_N))
    return minmax(ranking_NN @ (first_N >= first_N.mean()).astype(np.float64))
