# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Robust background saliency: each equation against loops, and pictures with something to find in them."""

import itertools
import math

import numpy as np
import pytest
import skimage.data
from saliency.pictures import disc, flipped, voronoi, warnings_are_errors  # noqa: F401
from skimage.transform import resize

from mscn_hf.saliency.robust_background import (
    RobustBackground,
    background_probability,
    background_weight,
    boundary_connectivity,
    color_scales,
    foreground_weight,
    gaussian,
    geodesic_distance,
    optimise,
    otsu_split,
    smoothness,
)
from mscn_hf.saliency.superpixels import SegmentedImage, distances


def saliency(rgb_HW3, **options):
    return RobustBackground(**options)(SegmentedImage(rgb_HW3))


def random_graph(seed, number=14):
    """Colour distances with some equal colours, adjacency in two parts that share no link, and a border of five."""
    random = np.random.default_rng(seed)
    lab_N3 = random.uniform(0, 30, (number, 3))
    lab_N3[3], lab_N3[5] = lab_N3[2], lab_N3[4]
    adjacency_NN = random.random((number, number)) < 0.2
    part_N = np.arange(number) >= number - 3
    adjacency_NN |= np.eye(number, k=1, dtype=bool)
    adjacency_NN = (adjacency_NN | adjacency_NN.T) & (part_N[:, None] == part_N) & ~np.eye(number, dtype=bool)
    border_N = np.zeros(number, dtype=bool)
    border_N[random.permutation(number - 3)[:5]] = True
    return distances(lab_N3), adjacency_NN, border_N


def slow_gaussian(distance, sigma):
    return math.exp(-(distance**2) / (2 * sigma**2)) if distance <= 3 * sigma else 0.0


def slow_neighbours(adjacency_NN, one):
    return [other for other in range(len(adjacency_NN)) if adjacency_NN[one, other]]


def slow_rings(adjacency_NN, one):
    near = slow_neighbours(adjacency_NN, one)
    further = {other for middle in near for other in slow_neighbours(adjacency_NN, middle)}
    return (further | set(near)) - {one}


@pytest.mark.parametrize("seed", range(4))
def test_color_scales_against_loops(seed):
    lab_NN, adjacency_NN, _ = random_graph(seed, 40)
    near = [min(lab_NN[i, j] for j in slow_neighbours(adjacency_NN, i)) for i in range(40)]
    rings = [min(lab_NN[i, j] for j in slow_rings(adjacency_NN, i)) for i in range(40)]
    links = sorted((lab_NN[i, j] for i in range(40) for j in range(i) if adjacency_NN[i, j]), reverse=True)
    assert len(links) > 150
    largest = sum(links[: round(0.01 * len(links))]) / round(0.01 * len(links))
    scales = color_scales(lab_NN / 3, adjacency_NN)
    nearest = sum(near) / 40 / 3
    assert scales.clip == pytest.approx(sum(rings) / 40 / 3, abs=1e-12)
    assert scales.geodesic_sigma == pytest.approx(max(5, min(10, 3 * nearest, largest / 30)), abs=1e-12)
    assert scales.smooth_sigma == pytest.approx(min(20, 3 * nearest, largest / 15), abs=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_geodesic_distance_and_connectivity_against_loops(seed):
    lab_NN, adjacency_NN, border_N = random_graph(seed)
    number, clip, sigma = len(border_N), 4.0, 6.0
    far = {}
    for i, j in itertools.product(range(number), repeat=2):
        linked = adjacency_NN[i, j] or (border_N[i] and border_N[j])
        far[i, j] = 0.0 if i == j else max(0.0, lab_NN[i, j] - clip) if linked else math.inf
    for k, i, j in itertools.product(range(number), repeat=3):  # Floyd and Warshall
        far[i, j] = min(far[i, j], far[i, k] + far[k, j])
    expected_NN = np.array([[far[i, j] for j in range(number)] for i in range(number)])
    found_NN = geodesic_distance(lab_NN, adjacency_NN, border_N, clip)
    assert np.isinf(found_NN[0, number - 1])
    assert (found_NN == 0).sum() > number  # steps below the clip cost nothing, and are still steps
    np.testing.assert_allclose(found_NN, expected_NN, atol=1e-10)

    connectivity_N = []
    for i in range(number):
        length = sum(slow_gaussian(far[i, j], sigma) for j in range(number) if border_N[j])
        area = sum(slow_gaussian(far[i, j], sigma) for j in range(number))
        connectivity_N.append(length / math.sqrt(area))
    found_N = boundary_connectivity(found_NN, border_N, sigma)
    np.testing.assert_allclose(found_N, connectivity_N, atol=1e-12)
    assert (found_N[-3:] == 0).all() and (found_N[border_N] > 0).all()


def test_connectivity_of_a_plain_image_is_its_border_over_the_root_of_its_area():
    border_N = np.arange(20) < 6
    np.testing.assert_allclose(boundary_connectivity(np.zeros((20, 20)), border_N, 7.0), 6 / math.sqrt(20))


def test_gaussian_is_cut_at_three_sigma():
    distance = np.array([0, 1, 5.9, 6.0, 6.1, 1e200, np.inf])
    np.testing.assert_allclose(gaussian(distance, 2.0), [slow_gaussian(d, 2.0) for d in distance], atol=1e-15)


def test_background_probability_and_weight():
    connectivity_N = np.array([0, 0.5, 1, 2.9, 3.0, 3.1, 500])
    expected_N = [1 - math.exp(-(c**2) / 2) for c in connectivity_N]
    np.testing.assert_allclose(background_probability(connectivity_N), expected_N, atol=1e-15)
    assert background_probability(np.array([2.0]), sigma=2.0) == pytest.approx(1 - math.exp(-0.5))
    weight_N = background_weight(np.array(expected_N), connectivity_N)
    np.testing.assert_array_equal(weight_N, [*expected_N[:5], 1000, 1000])


@pytest.mark.parametrize("seed", range(4))
def test_foreground_weight_against_loops(seed):
    random = np.random.default_rng(seed)
    lab_NN, _, _ = random_graph(seed)
    position_NN, background_N = distances(random.random((len(lab_NN), 2))), random.random(len(lab_NN))
    contrast = [
        sum(d * slow_gaussian(p, 0.2) * b for d, p, b in zip(row, far, background_N, strict=True))
        for row, far in zip(lab_NN, position_NN, strict=True)
    ]
    scaled = [(value - min(contrast)) / (max(contrast) - min(contrast)) for value in contrast]
    expected = [value if value >= slow_otsu(scaled) else 0.0 for value in scaled]
    found_N = foreground_weight(lab_NN, position_NN, background_N, 0.2)
    np.testing.assert_allclose(found_N, expected, atol=1e-10)
    assert 0 < (found_N > 0).sum() < len(found_N)


def slow_otsu(values):
    """The least value of the upper class, by the least sum of squares within the classes."""
    best, split = math.inf, min(values)
    for threshold in set(values) - {min(values)}:
        classes = [[v for v in values if v < threshold], [v for v in values if v >= threshold]]
        within = sum(sum((v - sum(some) / len(some)) ** 2 for v in some) for some in classes)
        if within < best:
            best, split = within, threshold
    return split


@pytest.mark.parametrize(
    "values", [[0.1, 0.2, 0.7, 0.9, 0.8], [0, 0, 0, 1], [0, 1, 1, 1, 1, 0.9], [3.0], [2.0, 2.0], [0.0, 0.0, 0.0]]
)
def test_otsu_split(values):
    assert otsu_split(np.array(values)) == slow_otsu(values)


@pytest.mark.parametrize("seed", range(4))
def test_optimise_finds_the_minimum_of_the_cost(seed):
    lab_NN, adjacency_NN, border_N = random_graph(seed)
    random, number, sigma = np.random.default_rng(seed), len(border_N), 12.0
    link_NN = smoothness(lab_NN, adjacency_NN, border_N, sigma, 0.1)
    for i, j in itertools.product(range(number), repeat=2):
        linked = i != j and (j in slow_rings(adjacency_NN, i) or (border_N[i] and border_N[j]))
        expected = linked * slow_gaussian(lab_NN[i, j], sigma) + 0.1 * adjacency_NN[i, j]
        assert link_NN[i, j] == pytest.approx(expected, abs=1e-12)

    background_N, foreground_N = 5 * random.random(number), random.random(number)

    def cost(s_N):
        own = sum(b * s**2 + f * (s - 1) ** 2 for b, f, s in zip(background_N, foreground_N, s_N, strict=True))
        return own + sum(link_NN[i, j] * (s_N[i] - s_N[j]) ** 2 for i in range(number) for j in range(i))

    found_N = optimise(link_NN, background_N, foreground_N)
    least = cost(found_N)
    # a quadratic cost: its slope is the symmetric difference, exactly
    for step_N in np.eye(number):
        assert cost(found_N + step_N) - cost(found_N - step_N) == pytest.approx(0, abs=1e-10)
        assert cost(found_N + step_N) > least


def test_optimise_where_part_of_the_graph_is_neither_background_nor_foreground():
    link_NN = np.zeros((5, 5))
    link_NN[[0, 1, 3, 4], [1, 0, 4, 3]] = 1.0
    background_N, foreground_N = np.array([1.0, 0, 0, 0, 0]), np.array([0, 1.0, 0, 0, 0])
    # 2 s0 - s1 = 0 and 2 s1 - s0 = 1
    np.testing.assert_allclose(optimise(link_NN, background_N, foreground_N), [1 / 3, 2 / 3, 0, 0, 0], atol=1e-10)


def test_the_whole_cue_is_its_equations():
    regions = voronoi(1, 40)
    number, lab_NN, near_NN, border_N = len(regions), regions.lab_distance_NN, regions.adjacency_NN, regions.border(3)
    position_NN = distances(regions.position_N2)
    clip, geodesic_sigma, smooth_sigma = color_scales(lab_NN, near_NN)
    geodesic_NN = geodesic_distance(lab_NN, near_NN, border_N, clip)
    soft = [[slow_gaussian(g, geodesic_sigma) for g in row] for row in geodesic_NN]
    connectivity = [sum(itertools.compress(row, border_N)) / math.sqrt(sum(row)) for row in soft]
    background = [1 - math.exp(-(value**2) / 2) for value in connectivity]
    contrast = [
        sum(lab_NN[i, j] * slow_gaussian(position_NN[i, j], 0.4) * background[j] for j in range(number))
        for i in range(number)
    ]
    scaled = [(value - min(contrast)) / (max(contrast) - min(contrast)) for value in contrast]
    foreground = [value if value >= slow_otsu(scaled) else 0.0 for value in scaled]
    system_NN = np.zeros((number, number))
    for i, j in itertools.product(range(number), repeat=2):
        linked = i != j and (j in slow_rings(near_NN, i) or (border_N[i] and border_N[j]))
        weight = linked * slow_gaussian(lab_NN[i, j], smooth_sigma) + 0.1 * near_NN[i, j]
        system_NN[i, j] -= weight
        system_NN[i, i] += weight
    for i in range(number):
        system_NN[i, i] += 5 * (1000 if connectivity[i] > 3 else background[i]) + foreground[i]
    expected_N = np.linalg.solve(system_NN, foreground)
    expected_N = (expected_N - expected_N.min()) / (expected_N.max() - expected_N.min())
    np.testing.assert_allclose(RobustBackground(border=3).of_superpixels(regions), expected_N, atol=1e-9)


@pytest.mark.parametrize(
    ("ground", "figure", "centre"),
    [(60, 220, (100, 120)), (220, 60, (100, 120)), ((40, 120, 60), (200, 60, 50), (75, 160))],
)
def test_a_disc_is_found(ground, figure, centre):
    rgb_HW3, inside_HW = disc(ground, figure, centre)
    map_HW = saliency(rgb_HW3)
    assert map_HW.dtype == np.float32 and map_HW.shape == inside_HW.shape and map_HW.max() == 1
    assert map_HW[inside_HW].mean() > 0.9
    assert map_HW[~inside_HW].mean() < 0.1


def test_an_object_that_touches_the_border_is_found():
    rgb_HW3, inside_HW = disc(60, 220, centre=(165, 120))
    map_HW = saliency(rgb_HW3)
    assert map_HW[inside_HW].mean() > 0.8 and map_HW[~inside_HW].mean() < 0.1


@pytest.mark.parametrize("axis", [0, 1])
def test_flipping_the_image_flips_the_map(axis):
    rgb_HW3, _ = disc((40, 120, 60), (200, 60, 50), centre=(85, 150))
    again_HW = np.flip(saliency(np.ascontiguousarray(np.flip(rgb_HW3, axis))), axis)
    assert np.corrcoef(saliency(rgb_HW3).ravel(), again_HW.ravel())[0, 1] > 0.95


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("seed", range(3))
def test_flipping_superpixels_changes_nothing(seed, axis):
    regions, cue = voronoi(seed, 40), RobustBackground(border=3)
    found_N = cue.of_superpixels(regions)
    assert found_N.min() == 0 and found_N.max() == 1 and len(np.unique(found_N)) > len(regions) / 2
    np.testing.assert_allclose(cue.of_superpixels(flipped(regions, axis)), found_N, atol=1e-8)


def test_twice_the_size_gives_nearly_the_same_map():
    rgb_HW3, _ = disc(60, 220, centre=(85, 150))
    small_HW = np.kron(saliency(rgb_HW3), np.ones((2, 2)))
    large_HW = saliency(np.kron(rgb_HW3, np.ones((2, 2, 1), dtype=np.uint8)))
    assert np.corrcoef(small_HW.ravel(), large_HW.ravel())[0, 1] > 0.9


def test_superpixels_are_one_for_each_600_pixels_unless_told():
    image = SegmentedImage(disc(60, 220)[0])
    RobustBackground()(image)
    RobustBackground(superpixels=80)(image)
    assert image.segmentations == 1
    RobustBackground(superpixels=81)(image)
    assert image.segmentations == 2


noise = np.random.default_rng(0)
BAD = {
    "8x8": noise.integers(0, 256, (8, 8, 3)),
    "1x1": noise.integers(0, 256, (1, 1, 3)),
    "1x7": noise.integers(0, 256, (1, 7, 3)),
    "2x300": noise.integers(0, 256, (2, 300, 3)),
    "30x30, all at the border": noise.integers(0, 256, (30, 30, 3)),
    "halves": np.where(np.arange(90)[None, :, None] < 45, 30, 200) * np.ones((70, 1, 3)),
    "two pixels of another colour": np.where(np.arange(4900).reshape(70, 70, 1) < 2, 0, 9) * np.ones(3),
    "noise": noise.integers(0, 256, (90, 120, 3)),
    "faint noise": noise.integers(128, 130, (90, 120, 3)),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("superpixels", [None, 1, 2, 40])
def test_any_image_has_a_map(name, superpixels):
    map_HW = saliency(BAD[name].astype(np.uint8), superpixels=superpixels)
    assert map_HW.shape == BAD[name].shape[:2] and map_HW.dtype == np.float32
    assert np.isfinite(map_HW).all() and map_HW.min() >= 0 and map_HW.max() in (0, 1)


@pytest.mark.parametrize("shape", [(1, 1), (8, 8), (2, 300), (60, 90)])
@pytest.mark.parametrize("color", [0, 255, (17, 130, 99)])
def test_nothing_stands_out_of_one_color(shape, color):
    assert not saliency(np.full((*shape, 3), color, dtype=np.uint8), superpixels=20).any()


@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee"])
def test_photographs(name):
    photo_HW3 = resize(getattr(skimage.data, name)(), (300, 400), anti_aliasing=True)
    map_HW = saliency(np.round(photo_HW3 * 255).astype(np.uint8))
    assert np.isfinite(map_HW).all() and map_HW.min() == 0 and map_HW.max() == 1
    assert 0.02 < map_HW.mean() < 0.6 and map_HW.std() > 0.05
