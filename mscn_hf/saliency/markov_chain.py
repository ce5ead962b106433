# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Saliency as the time a random walk over superpixels takes to reach the image's border.

Shapes: H, W the image's sides in pixels, N superpixels, K those of them that the walk visits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from .superpixels import SegmentedImage, minmax, two_rings

# Colours (CIELAB) that are nearer than this are one colour, whose differences are rounding.
SAME_COLOUR = 1e-3
# Bins of the histogram that tells whether a map is decided.
BINS = 10


@dataclass(frozen=True)
class MarkovChain:
    """Jiang et al. 2013: what a walk among similar neighbours leaves late, through copies of the border, stands out.

    Superpixels are linked to those at most two neighbours away, where regions that lie opposite each other on two
    sides of the image count as neighbours. In order, with section numbers of the paper:

    1. w_ij = exp(-d_ij / sigma2) + 1e-5 for links, d the distance of mean CIELAB colours brought to [0, 1] over all
       links; w_ii = 1 (section 4.1).
    2. Superpixels with sum_j w_ij < `least_degree` resemble nothing around them, and are set aside.
    3. Each border superpixel gets a copy that absorbs the walk; it is linked as its original is. D_ii sums the
       weights of i's links, to copies as well; P = D^-1 W, and y = (I - P)^-1 1 is the mean time until absorption
       (eq. 4); saliency = y brought to [0, 1] (eq. 5).
    4. score = sum_j h_j min(j, 11 - j), h the shares of the saliencies in ten bins (eq. 9). From `undecided` on the
       map has too many middling values, as where a wide smooth background is far from the border: each visit is
       then weighted with the inverse of its share in the chain without absorption, y = (I - P)^-1 u with
       u_j = 1 / c_j, c_j = d_j / sum d, d_i = sum_j w_ij (eq. 8).
    5. A superpixel set aside gets 1 where a neighbour has more than `beside`, else 0.

    Where the paper and the authors' code differ this follows the code: it links opposite border regions (the paper
    all border regions with each other), and has steps 2 and 5, in which walks that reach a superpixel set aside end
    there. In step 5 the code also looks at earlier superpixels set aside, which makes the map depend on their order;
    here only at the others. The code's search for a frame is not part of this class.

    Args:
        superpixels: how many.
        compactness: of the superpixels.
        sigma2: fall of the weight with the distance of colours.
        least_degree: see step 2.
        undecided: see step 4.
        beside: see step 5.
    """

    name: ClassVar[str] = "markov_chain"
    superpixels: int = 250
    compactness: float = 20.0
    sigma2: float = 0.1
    least_degree: float = 1.1
    undecided: float = 2.0
    beside: float = 0.3

    def __call__(self, image: SegmentedImage) -> np.ndarray:
        """Saliency float32 (H, W) in [0, 1], of largest value 1; all 0 where nothing stands out."""
        regions = image.superpixels(self.superpixels, self.compactness)
        saliency_N = self.of_graph(
            regions.lab_distance_NN, regions.adjacency_NN, opposite_links(regions.labels_HW), regions.border()
        )
        return regions.paint(saliency_N).astype(np.float32)

    def of_graph(
        self, distance_NN: np.ndarray, adjacency_NN: np.ndarray, opposite_NN: np.ndarray, border_N: np.ndarray
    ) -> np.ndarray:
        """Saliency of each superpixel, float64 (N,).

        Args:
            distance_NN: of the mean colours in CIELAB.
            adjacency_NN: bool, neighbours.
            opposite_NN: bool, regions that lie opposite each other on two sides.
            border_N: bool, regions at the border.
        """
        linked_NN = two_rings(adjacency_NN | opposite_NN)
        saliency_N = np.zeros(len(border_N))
        if not linked_NN.any() or distance_NN[linked_NN].max() < SAME_COLOUR:
            return saliency_N
        weight_NN = affinity(distance_NN, linked_NN, self.sigma2)
        degree_N = weight_NN.sum(axis=1)
        visited_N = degree_N >= self.least_degree
        walk = AbsorbingWalk(weight_NN, border_N, visited_N)
        saliency_K = minmax(walk.absorbed_time())
        if indecision(saliency_K) >= self.undecided:
            saliency_K = minmax(walk.absorbed_time(rarity(degree_N[visited_N])))
        saliency_N[visited_N] = saliency_K
        stands_out_N = (adjacency_NN & visited_N & (saliency_N > self.beside)).any(axis=1)
        saliency_N[~visited_N & stands_out_N] = 1
        return saliency_N


class AbsorbingWalk:
    """A random walk that ends in copies of the border, or outside of the nodes it may visit.

    Args:
        weight_NN: float64, symmetric.
        border_N: bool, nodes with an absorbing copy where they are visited.
        visited_N: bool, at least one.
    """

    def __init__(self, weight_NN: np.ndarray, border_N: np.ndarray, visited_N: np.ndarray):
        self.weight_KK = weight_NN[np.ix_(visited_N, visited_N)]
        to_copies_N = weight_NN[:, border_N & visited_N].sum(axis=1)
        self.total_K = (weight_NN.sum(axis=1) + to_copies_N)[visited_N]

    def absorbed_time(self, cost_K: np.ndarray | None = None) -> np.ndarray:
        """Mean sum of the costs (1 if None) of the nodes visited until absorption, float64 (K,): (I - P)^-1 cost."""
        # (D - W) y = D cost has the same solution, and its matrix is symmetric and positive definite
        right_K = self.total_K if cost_K is None else self.total_K * cost_K
        laplacian_KK = np.diag(self.total_K) - self.weight_KK
        try:
            return cho_solve(cho_factor(laplacian_KK), right_K)
        except np.linalg.LinAlgError:  # a part of the graph that no walk leaves
            return np.linalg.lstsq(laplacian_KK, right_K, rcond=None)[0]


def opposite_links(labels_HW: np.ndarray) -> np.ndarray:
    """bool (N, N), symmetric, diagonal False: regions at the two ends of a row or a column of pixels."""
    number = int(labels_HW.max()) + 1
    found_NN = np.zeros((number, number), dtype=bool)
    found_NN[labels_HW[0], labels_HW[-1]] = True
    found_NN[labels_HW[:, 0], labels_HW[:, -1]] = True
    found_NN |= found_NN.T
    np.fill_diagonal(found_NN, False)
    return found_NN


def affinity(distance_NN: np.ndarray, linked_NN: np.ndarray, sigma2: float, floor: float = 1e-5) -> np.ndarray:
    """exp(-d / sigma2) + floor for links, d brought to [0, 1] over all links; 1 on the diagonal, 0 elsewhere."""
    weight_NN = np.eye(len(distance_NN))
    weight_NN[linked_NN] = np.exp(-minmax(distance_NN[linked_NN]) / sigma2) + floor
    return weight_NN


def indecision(saliency_K: np.ndarray) -> float:
    """Between 1 (all saliencies near 0 or 1) and 5 (all in the middle): sum_j h_j min(j, 11 - j), eq. 9."""
    bin_K = np.minimum((saliency_K * BINS).astype(int), BINS - 1)
    return float(np.minimum(bin_K + 1, BINS - bin_K).mean())


def rarity(degree_K: np.ndarray) -> np.ndarray:
    """Inverse of each node's share of the visits in the chain without absorption, float64 (K,)."""
    return degree_K.sum() / degree_K
