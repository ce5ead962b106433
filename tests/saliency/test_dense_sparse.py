# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Dense and Sparse Reconstruction: each step against loops, whole maps on discs, mirrored, odd and real images."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import skimage.data
from scipy.optimize import nnls
from skimage.transform import resize
from sklearn.decomposition import sparse_encode
from sklearn.linear_model import Lasso

from mscn_hf.saliency import dense_sparse
from mscn_hf.saliency.dense_sparse import (
    DenseSparse,
    cluster,
    context_weights,
    dense_errors,
    fuse,
    lasso_residuals,
    object_biased,
    pixel_features,
    posterior,
    propagate,
    scale_weights,
    sparse_errors,
    stretched,
    superpixel_features,
    unit,
    value_range,
)
from mscn_hf.saliency.superpixels import SegmentedImage, Superpixels

CLOSE = {"rtol": 0, "atol": 1e-10}
CUE = DenseSparse()
COARSE = DenseSparse(scales=((50, 10.0), (100, 10.0)))


def disc(height=90, width=120, centre=(0.5, 0.5), radius=0.2, ground=(40, 60, 50), object_=(230, 200, 60)):
    """An image with a disc, and where the disc is; `radius` in heights."""
    rows_HW, columns_HW = np.mgrid[:height, :width]
    distance_HW = np.hypot(rows_HW - centre[0] * (height - 1), columns_HW - centre[1] * (width - 1))
    inside_HW = distance_HW < radius * height
    return np.where(inside_HW[..., None], object_, ground).astype(np.uint8), inside_HW


def photo(name, height=75, width=100):
    return (resize(getattr(skimage.data, name)(), (height, width), anti_aliasing=True) * 255).astype(np.uint8)


def strictly(rgb_HW3, cue=CUE):
    """The map, with every warning an error, and what holds for every map."""
    with warnings.catch_warnings(), np.errstate(divide="raise", over="raise", invalid="raise"):
        warnings.simplefilter("error")
        saliency_HW = cue(SegmentedImage(rgb_HW3))
    assert saliency_HW.dtype == np.float32
    assert saliency_HW.shape == rgb_HW3.shape[:2]
    assert np.isfinite(saliency_HW).all()
    assert saliency_HW.min() == 0
    assert saliency_HW.max() in (0, 1)
    return saliency_HW


def correlation(one, other):
    return np.corrcoef(one.ravel(), other.ravel())[0, 1]


def given(rgb_HW3, labels):
    """An image whose superpixels are those given for each scale."""
    image = SegmentedImage(rgb_HW3)
    for scale, labels_HW in labels.items():
        image._kept[scale] = Superpixels(np.ascontiguousarray(labels_HW), image.rgb_HW3, image.lab_HW3)
    return image


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def small(rng):
    """A small image of noise with twelve superpixels, two of them inside."""
    labels_HW = np.repeat(np.repeat(np.arange(12, dtype=np.int32).reshape(4, 3), 2, axis=0), 3, axis=1)
    image = SegmentedImage(rng.integers(0, 256, (8, 9, 3)).astype(np.uint8))
    return image, Superpixels(labels_HW, image.rgb_HW3, image.lab_HW3)


def test_features_are_means_of_the_pixels(small):
    image, superpixels = small
    lab_HW3 = image.lab_HW3.astype(float)
    sums, counts = np.zeros((12, 8)), np.zeros(12)
    pixel_HWF = np.zeros((8, 9, 8))
    for row in range(8):
        for column in range(9):
            lab = [
                (lab_HW3[row, column, c] - lab_HW3[..., c].min()) / (lab_HW3[..., c].max() - lab_HW3[..., c].min())
                for c in range(3)
            ]
            pixel = [*(image.rgb_HW3[row, column] / 255), *lab, row / 7 - 0.5, column / 8 - 0.5]
            pixel_HWF[row, column] = pixel
            sums[superpixels.labels_HW[row, column]] += pixel
            counts[superpixels.labels_HW[row, column]] += 1
    lab_range_23 = value_range(image.lab_HW3)
    np.testing.assert_allclose(pixel_features(image, lab_range_23), pixel_HWF, **CLOSE)
    np.testing.assert_allclose(superpixel_features(superpixels, lab_range_23), sums / counts[:, None], **CLOSE)


def test_rounding_of_grey_is_not_stretched():
    grey_HW3 = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2)
    lab_HW3 = SegmentedImage(grey_HW3).lab_HW3
    stretched_HW3 = stretched(lab_HW3, value_range(lab_HW3))
    assert np.ptp(lab_HW3[..., 1]) > 0
    assert (stretched_HW3[..., 1:] == 0).all()
    assert stretched_HW3[..., 0].min() == 0
    assert stretched_HW3[..., 0].max() == pytest.approx(1)


@pytest.mark.parametrize("energy, components", [(0.3, 1), (0.5, 2), (0.95, 5), (1.0, 8)])
def test_dense_error_is_what_the_components_leave(rng, energy, components):
    feature_NF = rng.normal(size=(30, 8)) * np.arange(1, 9)
    border_KF = feature_NF[:15]
    _, singular, right = np.linalg.svd(border_KF - border_KF.mean(axis=0))
    kept, total = 0, 0.0
    while total < energy * (singular**2).sum() * (1 - 1e-12):
        total += singular[kept] ** 2
        kept += 1
    mean = sum(feature_NF) / 30
    expected = []
    for feature in feature_NF:
        rebuilt = mean.copy()
        for component in right[:kept]:
            rebuilt += component * sum(component * (feature - mean))
        expected.append(math.dist(feature, rebuilt))
    np.testing.assert_allclose(dense_errors(feature_NF, border_KF, energy), expected, **CLOSE)
    assert kept == components


def test_dense_error_of_what_lies_in_the_components_is_nothing(rng):
    border_KF = rng.normal(size=(10, 2)) @ rng.normal(size=(2, 8))
    assert (dense_errors(np.concatenate([border_KF, 2 * border_KF]), border_KF, 0.95) == 0).all()


def ista(target_NF, atom_KF, sparsity, steps):
    """1/2 ||x - a D||^2 + sparsity ||a||_1 by proximal gradient steps, for each target on its own."""
    step = 1 / np.linalg.norm(atom_KF, 2) ** 2
    residuals = []
    for target_F in target_NF:
        code_K = np.zeros(len(atom_KF))
        for _ in range(steps):
            moved_K = code_K + step * atom_KF @ (target_F - code_K @ atom_KF)
            code_K = np.sign(moved_K) * np.maximum(np.abs(moved_K) - step * sparsity, 0)
        residuals.append(target_F - code_K @ atom_KF)
    return np.array(residuals)


@pytest.mark.parametrize("sparsity", [0.01, 0.3])
def test_lasso_residual_is_that_of_proximal_gradient(rng, sparsity):
    target_NF, atom_KF = unit(rng.normal(size=(5, 8))), unit(rng.normal(size=(10, 8)))
    expected_NF = ista(target_NF, atom_KF, sparsity, steps=10_000)
    np.testing.assert_allclose(lasso_residuals(target_NF, atom_KF, sparsity), expected_NF, **CLOSE)


def test_sparsity_is_not_divided_by_the_number_of_features(rng):
    target_NF, atom_KF = unit(rng.normal(size=(5, 8))), unit(rng.normal(size=(6, 8)))
    # scikit-learn's objective has 1 / (2 F) where this one has 1 / 2
    lasso = Lasso(alpha=0.05 / 8, fit_intercept=False, tol=1e-14, max_iter=100_000)
    expected_NF = [target_F - atom_KF.T @ lasso.fit(atom_KF.T, target_F).coef_ for target_F in target_NF]
    np.testing.assert_allclose(lasso_residuals(target_NF, atom_KF, 0.05), expected_NF, atol=1e-7)


def test_lasso_residual_with_alike_atoms(rng):
    """Colours of a real border: nearly parallel atoms, more of them than features, some of them twice."""
    atom_KF = unit(0.5 + 0.05 * rng.normal(size=(40, 8)))
    atom_KF = np.concatenate([atom_KF, atom_KF[:5], np.zeros((1, 8))])
    target_NF = np.concatenate([atom_KF[:10], unit(rng.random((30, 8))), np.zeros((1, 8))])
    residual_NF = lasso_residuals(target_NF, atom_KF, 0.01)
    expected_NF = target_NF - sparse_encode(target_NF, atom_KF[:40], algorithm="lasso_lars", alpha=0.01) @ atom_KF[:40]
    np.testing.assert_allclose(residual_NF, expected_NF, **CLOSE)
    assert np.abs(residual_NF @ atom_KF.T).max() <= 0.01 + 1e-12


def test_lasso_survives_a_solver_that_gives_up(rng, monkeypatch):
    target_NF, atom_KF = unit(rng.random((6, 8))), unit(rng.random((20, 8)))
    expected_NF = lasso_residuals(target_NF, atom_KF, 0.01)
    calls = []

    def unsteady(*args):
        calls.append(1)
        if len(calls) % 2:
            raise RuntimeError("Maximum number of iterations reached.")
        return nnls(*args)

    monkeypatch.setattr(dense_sparse, "nnls", unsteady)
    np.testing.assert_allclose(lasso_residuals(target_NF, atom_KF, 0.01), expected_NF, **CLOSE)
    assert len(calls) == 6


def test_sparse_error_is_the_squared_residual_of_unit_features(rng):
    feature_NF = rng.random((6, 8))
    feature_NF[0] = 0
    lengths = [math.hypot(*feature) or 1 for feature in feature_NF]
    unit_NF = np.array([feature / length for feature, length in zip(feature_NF, lengths, strict=True)])
    expected_N = [sum(r**2 for r in residual) for residual in ista(unit_NF, unit_NF[:3], 0.01, steps=8000)]
    np.testing.assert_allclose(sparse_errors(feature_NF, feature_NF[:3], 0.01), expected_N, **CLOSE)


def test_propagation_against_loops(rng):
    feature_NF, error_N = rng.random((25, 8)), rng.random(25)
    cluster_N = cluster(feature_NF, 4, seed=0)
    cluster_N[3] = 9  # alone
    variance = sum(sum((x - sum(column) / 25) ** 2 for x in column) / 25 for column in feature_NF.T) / 8
    expected = list(error_N)
    for i in sorted(range(25), key=lambda n: -error_N[n]):
        others = [j for j in range(25) if j != i and cluster_N[j] == cluster_N[i]]
        if others:
            weights = [math.exp(-(math.dist(feature_NF[i], feature_NF[j]) ** 2) / (2 * variance)) for j in others]
            context = sum(w * expected[j] for w, j in zip(weights, others, strict=True)) / sum(weights)
            expected[i] = 0.5 * expected[i] + 0.5 * context
    np.testing.assert_allclose(propagate(error_N, context_weights(feature_NF, cluster_N), 0.5), expected, **CLOSE)
    assert expected[3] == error_N[3]


def test_context_of_far_superpixels_has_weights(rng):
    """exp(-1600) is 0, but the weights of a row still sum to 1."""
    feature_NF = np.zeros((400, 8))
    feature_NF[0] = 1
    weight_NN = context_weights(feature_NF, np.zeros(400, int))
    np.testing.assert_allclose(weight_NN.sum(axis=1), 1, **CLOSE)
    np.testing.assert_allclose(weight_NN[0, 1:], 1 / 399, **CLOSE)


def test_clusters_are_as_many_as_there_are_different_superpixels(rng):
    feature_NF = rng.random((3, 8))[[0, 1, 2, 0, 1, 0]]
    cluster_N = cluster(feature_NF, 8, seed=0)
    assert len(set(cluster_N)) == 3
    assert (cluster_N[[0, 1, 0]] == cluster_N[[3, 4, 5]]).all()


def test_scale_weights_against_loops(small):
    image, superpixels = small
    lab_range_23 = value_range(image.lab_HW3)
    pixel_HWF = pixel_features(image, lab_range_23)
    feature_NF = superpixel_features(superpixels, lab_range_23)
    weight_HW = scale_weights(pixel_HWF, feature_NF, superpixels.labels_HW)
    for row, column in np.ndindex(8, 9):
        distance = math.dist(pixel_HWF[row, column], feature_NF[superpixels.labels_HW[row, column]])
        assert weight_HW[row, column] == pytest.approx(1 / (distance + 1e-6), rel=1e-10)


def slow_object_biased(error_HW, gaussian):
    height, width = error_HW.shape
    total = sum(error_HW[p] for p in np.ndindex(height, width))
    row, column = (sum(p[axis] * error_HW[p] for p in np.ndindex(height, width)) / total for axis in (0, 1))
    biased_HW = np.zeros((height, width))
    for r, c in np.ndindex(height, width):
        exponent = (r - row) ** 2 / (gaussian * height) ** 2 + (c - column) ** 2 / (gaussian * width) ** 2
        biased_HW[r, c] = error_HW[r, c] * math.exp(-exponent / 2)
    return (biased_HW - biased_HW.min()) / (biased_HW.max() - biased_HW.min())


def slow_posterior(prior_HW, seen_HW, bins):
    pixels = list(np.ndindex(prior_HW.shape))
    mean = sum(prior_HW[p] for p in pixels) / len(pixels)
    foreground = [p for p in pixels if prior_HW[p] > mean]
    background = [p for p in pixels if prior_HW[p] <= mean]
    bin_of = {p: min(math.floor(seen_HW[p] * bins), bins - 1) for p in pixels}
    found_HW = np.zeros(prior_HW.shape)
    for p in pixels:
        in_foreground = sum(bin_of[q] == bin_of[p] for q in foreground) / len(foreground)
        in_background = sum(bin_of[q] == bin_of[p] for q in background) / len(background)
        found = prior_HW[p] * in_foreground
        found_HW[p] = found / (found + (1 - prior_HW[p]) * in_background)
    return found_HW


def test_object_bias_and_bayes_against_loops(rng):
    prior_HW, seen_HW = rng.random((7, 9)), rng.random((7, 9))
    prior_HW[0, 0], prior_HW[0, 1], seen_HW[0, 0], seen_HW[0, 1] = 0, 1, 0, 1
    np.testing.assert_allclose(object_biased(prior_HW, 0.25), slow_object_biased(prior_HW, 0.25), **CLOSE)
    np.testing.assert_allclose(posterior(prior_HW, seen_HW, 6), slow_posterior(prior_HW, seen_HW, 6), **CLOSE)
    both = [slow_posterior(prior_HW, seen_HW, 6), slow_posterior(seen_HW, prior_HW, 6)]
    expected_HW = sum((one - one.min()) / (one.max() - one.min()) for one in both) / 2
    np.testing.assert_allclose(fuse(prior_HW, seen_HW, 6), expected_HW, **CLOSE)


def test_a_map_of_nothing_leaves_the_other_to_decide(rng):
    nothing_HW, something_HW = np.zeros((5, 6)), rng.random((5, 6))
    np.testing.assert_array_equal(object_biased(nothing_HW, 0.25), nothing_HW)
    np.testing.assert_array_equal(posterior(nothing_HW, something_HW, 60), nothing_HW)
    np.testing.assert_allclose(posterior(something_HW, nothing_HW, 60), something_HW, **CLOSE)


def test_whole_map_from_the_steps(small):
    """Two scales of given superpixels, joined pixel by pixel."""
    image, superpixels = small
    finer_HW = np.arange(72, dtype=np.int32).reshape(8, 9) // 2
    cue = DenseSparse(scales=((12, 1.0), (18, 1.0)), clusters=3)
    image = given(image.rgb_HW3, {(12, 1.0): superpixels.labels_HW, (18, 1.0): finer_HW})
    lab_range_23 = value_range(image.lab_HW3)
    pixel_HWF = pixel_features(image, lab_range_23)
    maps = []
    for kind in (0, 1):
        error_HW = np.zeros((8, 9))
        for row, column in np.ndindex(8, 9):
            total, weights = 0.0, 0.0
            for scale in cue.scales:
                regions = image.superpixels(*scale)
                feature_NF = superpixel_features(regions, lab_range_23)
                region = regions.labels_HW[row, column]
                weight = 1 / (math.dist(pixel_HWF[row, column], feature_NF[region]) + 1e-6)
                total += weight * cue.errors(feature_NF, regions.border())[region, kind]
                weights += weight
            error_HW[row, column] = total / weights
        maps.append(slow_object_biased((error_HW - error_HW.min()) / (error_HW.max() - error_HW.min()), 0.25))
    both = [slow_posterior(*maps, 60), slow_posterior(*reversed(maps), 60)]
    expected_HW = sum((one - one.min()) / (one.max() - one.min()) for one in both) / 2
    expected_HW = (expected_HW - expected_HW.min()) / (expected_HW.max() - expected_HW.min())
    np.testing.assert_allclose(cue(image), expected_HW, atol=1e-7)
    assert image.segmentations == 0


@pytest.mark.parametrize("ground, object_", [((40, 60, 50), (230, 200, 60)), ((225, 230, 220), (120, 20, 30))])
@pytest.mark.parametrize("centre", [(0.5, 0.5), (0.4, 0.7)])
def test_a_disc_is_found(ground, object_, centre):
    image, inside_HW = disc(ground=ground, object_=object_, centre=centre)
    saliency_HW = strictly(image)
    assert saliency_HW[inside_HW].mean() > 0.95
    assert saliency_HW[~inside_HW].mean() < 0.05


@pytest.mark.parametrize("ground, object_", [(0, 255), (255, 0), (90, 200), (200, 90)])
def test_a_grey_disc_is_found(ground, object_):
    image, inside_HW = disc(ground=(ground,) * 3, object_=(object_,) * 3)
    saliency_HW = strictly(image, COARSE)
    assert saliency_HW[inside_HW].mean() > 0.95
    assert saliency_HW[~inside_HW].mean() < 0.05


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("rgb_HW3", [photo("chelsea"), photo("coffee"), disc(centre=(0.4, 0.6))[0]])
def test_a_mirrored_image_has_a_mirrored_map(rgb_HW3, axis):
    """On mirrored superpixels, up to the rounding of float32."""
    image = SegmentedImage(rgb_HW3)
    labels = {scale: np.flip(image.superpixels(*scale).labels_HW, axis) for scale in COARSE.scales}
    mirrored = given(np.ascontiguousarray(np.flip(rgb_HW3, axis)), labels)
    np.testing.assert_allclose(np.flip(COARSE(mirrored), axis), COARSE(image), rtol=0, atol=1e-6)


@pytest.mark.parametrize("axis", [0, 1])
def test_slic_mirrors_nearly(axis):
    image, _ = disc(centre=(0.45, 0.6))
    mirrored_HW = strictly(np.ascontiguousarray(np.flip(image, axis)), COARSE)
    assert correlation(np.flip(mirrored_HW, axis), strictly(image, COARSE)) > 0.9


def test_twice_the_size_is_nearly_the_same_map():
    small_HW = strictly(disc(90, 120)[0])
    large_HW = strictly(disc(180, 240)[0])
    assert correlation(resize(small_HW, (180, 240), order=1), large_HW) > 0.9


@pytest.mark.parametrize("shape", [(1, 1), (8, 8), (2, 300), (60, 80)])
@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (200, 30, 90)])
def test_one_colour_has_nothing_that_stands_out(shape, colour):
    assert not strictly(np.full((*shape, 3), colour, np.uint8)).any()


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 2), (3, 5), (8, 8), (2, 300), (300, 1), (61, 83)])
def test_noise_of_any_shape(rng, shape):
    strictly(rng.integers(0, 256, (*shape, 3)).astype(np.uint8))


@pytest.mark.parametrize("axis", [0, 1])
def test_two_tones(axis):
    image = np.zeros((60, 80, 3), np.uint8)
    image[:30] = 200
    strictly(np.ascontiguousarray(np.moveaxis(image, 0, axis)))


@pytest.mark.parametrize("labels_HW", [[[0] * 6] * 4, [[0, 0, 0, 1, 1, 1]] * 4, [[0, 1, 2, 3, 4, 5]] * 4])
def test_all_superpixels_at_the_border(rng, labels_HW):
    image = given(rng.integers(0, 256, (4, 6, 3)).astype(np.uint8), {(9, 1.0): np.array(labels_HW, np.int32)})
    with warnings.catch_warnings(), np.errstate(divide="raise", over="raise", invalid="raise"):
        warnings.simplefilter("error")
        saliency_HW = DenseSparse(scales=((9, 1.0),))(image)
    assert np.isfinite(saliency_HW).all()
    assert saliency_HW.min() >= 0
    assert saliency_HW.max() <= 1


@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee"])
def test_photographs(name):
    saliency_HW = strictly(photo(name, 300, 400))
    assert saliency_HW.std() > 0.05
    assert saliency_HW.max() == 1


def test_the_same_image_has_the_same_map():
    image = photo("chelsea")
    np.testing.assert_array_equal(strictly(image, COARSE), strictly(image, COARSE))
