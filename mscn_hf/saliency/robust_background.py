# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Saliency from how much of the image's border a region holds.

Shapes: H, W the image's sides in pixels, N superpixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve, lstsq
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from .superpixels import SegmentedImage, Superpixels, distances, minmax, two_rings

PIXELS_PER_SUPERPIXEL = 600
# Finer than any step of colour in an image of 8 bits: keeps Gaussians defined where regions agree exactly.
LEAST_SIGMA = 1e-3


@dataclass(frozen=True)
class RobustBackground:
    """Zhu et al. 2014: background holds much of the image's border for its size, an object touches it little.

    With d_ij the colour distance of regions in CIELAB, B the regions at the border, p_ij the distance in space:

        g_ij     = least sum of max(0, d - clip) along paths of neighbours                        (section 3.2)
        Area_i   = sum_j exp(-g_ij^2 / 2 s_geo^2),  Len_i = sum_{j in B} of the same              (section 3.2)
        BndCon_i = Len_i / sqrt(Area_i)                                                           (section 3.2)
        w_bg_i   = 1 - exp(-BndCon_i^2 / 2 s_con^2)                                               (section 4)
        wCtr_i   = sum_j d_ij exp(-p_ij^2 / 2 s_pos^2) w_bg_j                                     (section 4)
        minimise   sum_i w_bg_i s_i^2 + sum_i wCtr_i (s_i - 1)^2 + sum_{i<j} w_ij (s_i - s_j)^2   (section 5, eq. 9)

    Constants, and what the paper leaves open (scales fitted to the image, Gaussians cut at three sigma, Otsu's
    threshold on wCtr, a fixed weight for certain background), are those of the authors' program.
    Time and memory grow at least with the square of the number of superpixels.

    Args:
        superpixels: how many; None: one for each 600 pixels.
        compactness: of the superpixels.
        border: width in pixels of the band whose superpixels count as border.
        connectivity_sigma: s_con.
        position_sigma: s_pos, as a share of the image's sides.
        background_scale: weight of the background's term against the foreground's.
        least_link: added to w_ij between neighbours, whatever their colours.
    """

    name: ClassVar[str] = "robust_background"
    superpixels: int | None = None
    compactness: float = 20.0
    border: int = 8
    connectivity_sigma: float = 1.0
    position_sigma: float = 0.4
    background_scale: float = 5.0
    least_link: float = 0.1

    def __call__(self, image: SegmentedImage) -> np.ndarray:
        """Saliency float32 (H, W) in [0, 1], of largest value 1; all 0 where nothing stands out."""
        height, width = image.shape
        number = round(height * width / PIXELS_PER_SUPERPIXEL) if self.superpixels is None else self.superpixels
        regions = image.superpixels(number, self.compactness)
        return regions.paint(self.of_superpixels(regions)).astype(np.float32)

    def of_superpixels(self, regions: Superpixels) -> np.ndarray:
        """Saliency of each superpixel, float64 (N,), as `__call__`'s."""
        lab_NN, near_NN, border_N = regions.lab_distance_NN, regions.adjacency_NN, regions.border(self.border)
        if not lab_NN[near_NN].any():
            return np.zeros(len(regions))
        scales = color_scales(lab_NN, near_NN)
        geodesic_NN = geodesic_distance(lab_NN, near_NN, border_N, scales.clip)
        connectivity_N = boundary_connectivity(geodesic_NN, border_N, scales.geodesic_sigma)
        background_N = background_probability(connectivity_N, self.connectivity_sigma)
        foreground_N = foreground_weight(lab_NN, distances(regions.position_N2), background_N, self.position_sigma)
        link_NN = smoothness(lab_NN, near_NN, border_N, scales.smooth_sigma, self.least_link)
        certain_N = self.background_scale * background_weight(background_N, connectivity_N)
        return minmax(optimise(link_NN, certain_N, foreground_N))


class ColorScales(NamedTuple):
    """Scales of colour distance that suit an image, in CIELAB units.

    Attributes:
        clip: distance between neighbours that counts as none in a geodesic path.
        geodesic_sigma: s_geo, between 5 and 10.
        smooth_sigma: of the links w_ij, at most 20.
    """

    clip: float
    geodesic_sigma: float
    smooth_sigma: float


def color_scales(lab_distance_NN: np.ndarray, adjacency_NN: np.ndarray) -> ColorScales:
    """Scales from the mean distance to the nearest neighbour and the mean of the largest hundredth of all links.

    The clip is the mean distance to the nearest in colour among neighbours and their neighbours; the sigmas are
    from neighbours alone. Source: the authors' program. The graph has at least one link.
    """
    nearest = _mean_nearest(lab_distance_NN, adjacency_NN)
    links = np.sort(lab_distance_NN[np.triu(adjacency_NN)])[::-1]
    largest = float(links[: max(1, round(len(links) / 100))].mean())
    return ColorScales(
        clip=_mean_nearest(lab_distance_NN, two_rings(adjacency_NN)),
        geodesic_sigma=max(5.0, min(10.0, 3 * nearest, largest / 10)),
        smooth_sigma=max(LEAST_SIGMA, min(20.0, 3 * nearest, largest / 5)),
    )


def geodesic_distance(
    lab_distance_NN: np.ndarray, adjacency_NN: np.ndarray, border_N: np.ndarray, clip: float
) -> np.ndarray:
    """Least sum of max(0, d - clip) along paths of neighbours, (N, N), infinite where there is no path (section 3.2).

    Border regions count as neighbours of each other, so that an object that touches the border does not
    cut the background in two.
    """
    linked_NN = adjacency_NN | np.logical_and.outer(border_N, border_N)
    np.fill_diagonal(linked_NN, False)
    rows, columns = linked_NN.nonzero()
    # links of length 0 stay links only because the matrix names them
    length = np.maximum(0, lab_distance_NN[rows, columns] - clip)
    return dijkstra(csr_array((length, (rows, columns)), shape=linked_NN.shape), directed=True)


def gaussian(distance: np.ndarray, sigma: float) -> np.ndarray:
    """exp(-distance^2 / 2 sigma^2), and 0 beyond 3 sigma."""
    weight = np.zeros(distance.shape)
    inside = distance <= 3 * sigma
    weight[inside] = np.exp(-0.5 * (distance[inside] / sigma) ** 2)
    return weight


def boundary_connectivity(geodesic_NN: np.ndarray, border_N: np.ndarray, sigma: float) -> np.ndarray:
    """BndCon (N,): a region's soft length along the border over the root of its soft area (section 3.2)."""
    weight_NN = gaussian(geodesic_NN, sigma)
    return weight_NN[:, border_N].sum(axis=1) / np.sqrt(weight_NN.sum(axis=1))


def background_probability(connectivity_N: np.ndarray, sigma: float = 1.0) -> np.ndarray:
    """w_bg (N,) in [0, 1] (section 4)."""
    return -np.expm1(-0.5 * (connectivity_N / sigma) ** 2)


def background_weight(
    background_N: np.ndarray, connectivity_N: np.ndarray, certain: float = 3.0, weight: float = 1000.0
) -> np.ndarray:
    """w_bg, and `weight` where BndCon is above `certain`, which all but fixes those regions at 0."""
    return np.where(connectivity_N > certain, weight, background_N)


def foreground_weight(
    lab_distance_NN: np.ndarray, position_distance_NN: np.ndarray, background_N: np.ndarray, sigma: float = 0.4
) -> np.ndarray:
    """wCtr (N,) in [0, 1]: contrast to near and likely background (section 4), its lower class set to 0."""
    contrast_N = minmax((lab_distance_NN * gaussian(position_distance_NN, sigma)) @ background_N)
    return np.where(contrast_N < otsu_split(contrast_N), 0.0, contrast_N)


def otsu_split(values_N: np.ndarray) -> float:
    """The least value of the upper class of Otsu's (1979) division into two; the least of all if all are equal.

    Of the values themselves: a histogram's threshold lies inside a bin, and with hundreds of values that shows.
    """
    ordered_N = np.sort(values_N)
    count = np.arange(1, len(ordered_N))
    lower = np.cumsum(ordered_N)[:-1]
    upper = ordered_N.sum() - lower
    between = count * count[::-1] * (lower / count - upper / count[::-1]) ** 2
    # a division between equal values is none
    between[ordered_N[1:] == ordered_N[:-1]] = -1
    return float(ordered_N[0] if not len(between) or between.max() <= 0 else ordered_N[1 + between.argmax()])


def smoothness(
    lab_distance_NN: np.ndarray, adjacency_NN: np.ndarray, border_N: np.ndarray, sigma: float, least: float = 0.1
) -> np.ndarray:
    """w_ij (N, N) of eq. 9, diagonal 0: between neighbours, neighbours' neighbours, and all border regions."""
    linked_NN = two_rings(adjacency_NN) | np.logical_and.outer(border_N, border_N)
    np.fill_diagonal(linked_NN, False)
    return gaussian(np.where(linked_NN, lab_distance_NN, np.inf), sigma) + least * adjacency_NN


def optimise(link_NN: np.ndarray, background_N: np.ndarray, foreground_N: np.ndarray) -> np.ndarray:
    """Minimum (N,) of sum_i b_i s_i^2 + sum_i f_i (s_i - 1)^2 + sum over pairs of w_ij (s_i - s_j)^2 (eq. 9)."""
    system_NN = np.diag(link_NN.sum(axis=1) + background_N + foreground_N) - link_NN
    try:
        return cho_solve(cho_factor(system_NN), foreground_N)
    except LinAlgError:
        # some part of the graph has neither background nor foreground: 0 there
        return lstsq(system_NN, foreground_N)[0]


def _mean_nearest(distance_NN: np.ndarray, linked_NN: np.ndarray) -> float:
    """Mean over regions of the least distance to a linked one; regions without any do not count."""
    nearest_N = np.where(linked_NN, distance_NN, np.inf).min(axis=1)
    return float(nearest_N[np.isfinite(nearest_N)].mean())
