# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Saliency from the errors of rebuilding an image out of its border: Dense and Sparse Reconstruction.

Shapes: H, W the image's sides in pixels, N superpixels, K border superpixels, F = 8 features.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.optimize import nnls
from sklearn.cluster import KMeans
from sklearn.decomposition import sparse_encode
from sklearn.exceptions import ConvergenceWarning

from .superpixels import SegmentedImage, Superpixels, distances, minmax

FEATURES = 8
# A CIELAB channel that varies less than this is constant: stretching it would show the rounding of the conversion.
SMALLEST_SPAN = 0.1
# Features span 1, so distances and errors below this say nothing.
ROUNDING = 1e-6


@dataclass(frozen=True)
class DenseSparse:
    """Li et al. 2013: what the image's border cannot rebuild is salient.

    For each scale (number and compactness of superpixels):

    1. the features x of a superpixel are its mean RGB, mean CIELAB stretched to [0, 1] and mean position;
    2. dense error ||(x - mean) - U U^T (x - mean)||, U the principal components of the border's features;
    3. sparse error ||x - D a||^2, a = argmin 1/2 ||x - D a||^2 + sparsity ||a||_1, D the border's features, all of
       unit length;
    4. context-based propagation: either error is mixed with those of its k-means cluster, largest error first.

    Then, for either kind of error:

    5. multi-scale integration: a pixel's error is the mean over scales, weighted by 1 / ||x of the pixel - x of its
       superpixel||;
    6. object-biased Gaussian: times a Gaussian about the errors' centre of mass.

    Bayesian integration: each of the two maps is the prior of the other; the two posteriors are averaged.

    Constants are those of the authors' code, and so is that the dense error is not squared and that errors and maps
    are brought to [0, 1] after each step. Deviations from that code: positions are from the image's middle, so that a
    mirrored image has a mirrored map (there: from a corner, on which the sparse error depends); as many components as
    `energy` needs (there: one more); a superpixel alone in its cluster keeps its error (there: half of it); a pixel's
    position in step 5 has the unit of its superpixel's (there: pixels, so that all scales weigh the same); foreground
    and background are counted in the same bins (there: in bins of their own ranges).

    Args:
        scales: number and compactness of superpixels, for each scale.
        energy: share of the border's variance that the dense model keeps at least.
        sparsity: weight of the L1 norm.
        clusters: of the k-means clustering.
        context: weight of the cluster in a propagated error.
        gaussian: standard deviation of the Gaussian, in sides of the image.
        bins: of the likelihoods.
        seed: of the k-means clustering.
    """

    name: ClassVar[str] = "dense_sparse"
    scales: tuple[tuple[int, float], ...] = (
        (50, 10.0),
        (100, 10.0),
        (150, 20.0),
        (200, 20.0),
        (250, 25.0),
        (300, 25.0),
        (350, 30.0),
        (400, 30.0),
    )
    energy: float = 0.95
    sparsity: float = 0.01
    clusters: int = 8
    context: float = 0.5
    gaussian: float = 0.25
    bins: int = 60
    seed: int = 0

    def __call__(self, image: SegmentedImage) -> np.ndarray:
        """Saliency float32 (H, W) in [0, 1], of largest value 1; all 0 where nothing stands out."""
        lab_range_23 = value_range(image.lab_HW3)
        if (lab_range_23[1] - lab_range_23[0] < SMALLEST_SPAN).all():
            return np.zeros(image.shape, np.float32)
        pixel_HWF = pixel_features(image, lab_range_23)
        total_HW2, total_weight_HW = np.zeros((*image.shape, 2)), np.zeros(image.shape)
        for number, compactness in self.scales:
            superpixels = image.superpixels(number, compactness)
            feature_NF = superpixel_features(superpixels, lab_range_23)
            weight_HW = scale_weights(pixel_HWF, feature_NF, superpixels.labels_HW)
            total_HW2 += weight_HW[..., None] * superpixels.paint(self.errors(feature_NF, superpixels.border()))
            total_weight_HW += weight_HW
        error_HW2 = total_HW2 / total_weight_HW[..., None]
        dense_HW, sparse_HW = (object_biased(minmax(error_HW2[..., kind]), self.gaussian) for kind in (0, 1))
        return minmax(fuse(dense_HW, sparse_HW, self.bins)).astype(np.float32)

    def errors(self, feature_NF: np.ndarray, border_N: np.ndarray) -> np.ndarray:
        """Propagated dense and sparse errors of one scale, each in [0, 1], (N, 2)."""
        weight_NN = context_weights(feature_NF, cluster(feature_NF, self.clusters, self.seed))
        dense_N = dense_errors(feature_NF, feature_NF[border_N], self.energy)
        sparse_N = sparse_errors(feature_NF, feature_NF[border_N], self.sparsity)
        return np.stack(
            [minmax(propagate(minmax(error_N), weight_NN, self.context)) for error_N in (dense_N, sparse_N)], axis=1
        )


def value_range(picture_HWC: np.ndarray) -> np.ndarray:
    """Least and largest value of each channel, float64 (2, C)."""
    channels = np.moveaxis(picture_HWC, 2, 0)
    return np.array([[channel.min() for channel in channels], [channel.max() for channel in channels]], dtype=float)


def stretched(lab: np.ndarray, lab_range_23: np.ndarray) -> np.ndarray:
    """CIELAB colours (..., 3), each channel scaled so that the image spans [0, 1]; 0 where it is all alike."""
    low_3, span_3 = lab_range_23[0], lab_range_23[1] - lab_range_23[0]
    constant_3 = span_3 < SMALLEST_SPAN
    return (lab - low_3) * (~constant_3 / np.where(constant_3, 1, span_3))


def superpixel_features(superpixels: Superpixels, lab_range_23: np.ndarray) -> np.ndarray:
    """Mean RGB and stretched CIELAB in [0, 1], mean position in [-1/2, 1/2], (N, F)."""
    lab_N3 = stretched(superpixels.lab_N3, lab_range_23)
    return np.concatenate([superpixels.rgb_N3, lab_N3, superpixels.position_N2 - 1 / 2], axis=1)


def pixel_features(image: SegmentedImage, lab_range_23: np.ndarray) -> np.ndarray:
    """The features of each pixel, (H, W, F)."""
    height, width = image.shape
    pixel_HWF = np.empty((height, width, FEATURES))
    pixel_HWF[..., :3] = image.rgb_HW3 / 255
    pixel_HWF[..., 3:6] = stretched(image.lab_HW3, lab_range_23)
    pixel_HWF[..., 6] = (np.arange(height) / max(height - 1, 1))[:, None] - 1 / 2
    pixel_HWF[..., 7] = np.arange(width) / max(width - 1, 1) - 1 / 2
    return pixel_HWF


def dense_errors(feature_NF: np.ndarray, border_KF: np.ndarray, energy: float) -> np.ndarray:
    """Distance of each feature from the space of the border's first principal components through the mean, (N,).

    The components are those of the border, as many as have `energy` of its variance; the mean is that of all
    superpixels.
    """
    spread_KF = border_KF - border_KF.mean(axis=0)
    variance_F, component_FF = np.linalg.eigh(spread_KF.T @ spread_KF)
    variance_F, component_FF = variance_F[::-1], component_FF[:, ::-1]
    kept = 1 + int(np.sum(np.cumsum(variance_F) < energy * variance_F.sum()))
    centred_NF = feature_NF - feature_NF.mean(axis=0)
    left_FF = component_FF[:, kept:]
    error_N = np.sqrt(np.square(centred_NF @ left_FF).sum(axis=1))
    return np.where(error_N < ROUNDING, 0, error_N)


def sparse_errors(feature_NF: np.ndarray, border_KF: np.ndarray, sparsity: float) -> np.ndarray:
    """Squared residual of each feature in the Lasso on the border's features, all of unit length, (N,)."""
    residual_NF = lasso_residuals(unit(feature_NF), unit(border_KF), sparsity)
    return np.square(residual_NF).sum(axis=1)


def unit(feature_NF: np.ndarray) -> np.ndarray:
    """Features of unit length; zeros stay zeros."""
    length_N1 = np.sqrt(np.square(feature_NF).sum(axis=1, keepdims=True))
    return feature_NF / np.where(length_N1 == 0, 1, length_N1)


def lasso_residuals(target_NF: np.ndarray, atom_KF: np.ndarray, sparsity: float) -> np.ndarray:
    """x - D a of each target x, where a minimises 1/2 ||x - D a||^2 + sparsity ||a||_1, exact to rounding, (N, F).

    The Lasso's dual: the residual r is the point nearest to x with |d . r| <= sparsity for every atom d. It is unique,
    which a is not, and is found by least-distance programming (Lawson & Hanson 1974, chapter 23): r - x is the
    shortest z with G z >= h, which follows from a non-negative least squares problem with one row for each feature
    and one for h. With few features and alike atoms coordinate descent is slow.
    """
    features = target_NF.shape[1]
    correlation_NK = target_NF @ atom_KF.T
    bound_NM = np.concatenate([correlation_NK, -correlation_NK], axis=1) - sparsity
    system = np.concatenate([-atom_KF.T, atom_KF.T], axis=1)
    system = np.concatenate([system, np.zeros((1, system.shape[1]))])
    wanted = np.append(np.zeros(features), 1.0)
    residual_NF = target_NF.copy()
    for n in np.flatnonzero((bound_NM > 0).any(axis=1)):
        system[-1] = bound_NM[n]
        try:
            multiplier_M, _ = nnls(system, wanted)
        except RuntimeError:  # it may cycle
            residual_NF[n] -= lars_reconstruction(target_NF[n], atom_KF, sparsity)
        else:
            left = system @ multiplier_M - wanted
            residual_NF[n] -= left[:-1] / left[-1]
    return residual_NF


def lars_reconstruction(target_F: np.ndarray, atom_KF: np.ndarray, sparsity: float) -> np.ndarray:
    """D a by the Lasso's path of solutions, (F,): slower."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return sparse_encode(target_F[None], atom_KF, algorithm="lasso_lars", alpha=sparsity)[0] @ atom_KF


def cluster(feature_NF: np.ndarray, number: int, seed: int) -> np.ndarray:
    """k-means cluster of each superpixel, as many as `number` where there are so many different ones, (N,)."""
    number = min(number, len(np.unique(np.round(feature_NF / ROUNDING), axis=0)))
    return KMeans(number, n_init=1, max_iter=200, random_state=seed).fit_predict(feature_NF)


def context_weights(feature_NF: np.ndarray, cluster_N: np.ndarray) -> np.ndarray:
    """Weight of each superpixel j in the context of i, rows summing to 1, (N, N).

    exp(-||x_i - x_j||^2 / 2 v), v the mean variance of the features, for others of the same cluster; only itself
    where it is alone.
    """
    variance = max(feature_NF.var(axis=0).mean(), ROUNDING**2)
    others_NN = cluster_N[:, None] == cluster_N
    np.fill_diagonal(others_NN, False)
    np.fill_diagonal(others_NN, ~others_NN.any(axis=1))
    exponent_NN = np.where(others_NN, np.square(distances(feature_NF)) / (2 * variance), np.inf)
    # the nearest one has weight 1 before the division, so that no row is 0
    weight_NN = np.exp(exponent_NN.min(axis=1, keepdims=True) - exponent_NN)
    return weight_NN / weight_NN.sum(axis=1, keepdims=True)


def propagate(error_N: np.ndarray, weight_NN: np.ndarray, context: float) -> np.ndarray:
    """Errors mixed with their context's in descending order, each seeing those mixed before it, (N,).

    Args:
        error_N: in [0, 1].
        weight_NN: see `context_weights`.
        context: weight of the context.
    """
    mixed_N = error_N.copy()
    # the border's sparse errors are all alike to rounding, which must not decide their order
    for i in np.argsort(-np.round(error_N / ROUNDING), kind="stable"):
        mixed_N[i] += context * (weight_NN[i] @ mixed_N - mixed_N[i])
    return mixed_N


def scale_weights(pixel_HWF: np.ndarray, feature_NF: np.ndarray, labels_HW: np.ndarray) -> np.ndarray:
    """Weight of a scale at each pixel: how like its superpixel it is, (H, W)."""
    difference_HWF = pixel_HWF - feature_NF[labels_HW]
    distance_HW = np.sqrt(np.einsum("hwf,hwf->hw", difference_HWF, difference_HWF))
    return 1 / (distance_HW + ROUNDING)


def object_biased(error_HW: np.ndarray, gaussian: float) -> np.ndarray:
    """The errors times a Gaussian about their centre of mass, brought to [0, 1], (H, W).

    Args:
        error_HW: in [0, 1].
        gaussian: its standard deviation, in sides of the image.
    """
    total = error_HW.sum()
    if total == 0:
        return error_HW
    bumps = []
    for axis, side in enumerate(error_HW.shape):
        position = np.arange(side)
        centre = error_HW.sum(axis=1 - axis) @ position / total
        bumps.append(np.exp(-np.square(position - centre) / (2 * (gaussian * side) ** 2)))
    return minmax(error_HW * bumps[0][:, None] * bumps[1])


def posterior(prior_HW: np.ndarray, seen_HW: np.ndarray, bins: int) -> np.ndarray:
    """Probability of foreground, given a prior map and what another map shows, (H, W).

    The pixels above the prior's mean stand for foreground, the others for background; the likelihood of a value is
    the share of either that has it, to one of `bins` equal bins of [0, 1]. The prior where either has no pixel.
    """
    foreground_HW = prior_HW > prior_HW.mean()
    if not foreground_HW.any():
        return prior_HW
    bin_HW = np.minimum((seen_HW * bins).astype(int), bins - 1)
    in_foreground, in_background = (
        (np.bincount(bin_HW[where_HW], minlength=bins) / where_HW.sum())[bin_HW]
        for where_HW in (foreground_HW, ~foreground_HW)
    )
    for_HW, against_HW = prior_HW * in_foreground, (1 - prior_HW) * in_background
    return for_HW / (for_HW + against_HW)


def fuse(one_HW: np.ndarray, other_HW: np.ndarray, bins: int) -> np.ndarray:
    """Mean of the posteriors with either map as the prior, (H, W)."""
    return (minmax(posterior(one_HW, other_HW, bins)) + minmax(posterior(other_HW, one_HW, bins))) / 2
