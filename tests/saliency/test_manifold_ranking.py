# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Manifold ranking saliency: each equation against loops, and pictures with something to find in them."""

import math

import numpy as np
import pytest
import skimage.data
from saliency.pictures import disc, flipped, voronoi, warnings_are_errors  # noqa: F401
from skimage.transform import resize

from mscn_hf.saliency.manifold_ranking import (
    ManifoldRanking,
    affinity,
    background_stage,
    foreground_stage,
    graph_links,
    ranking_matrix,
)
from mscn_hf.saliency.superpixels import SegmentedImage, distances


def saliency(rgb_HW3, **options):
    return ManifoldRanking(**options)(SegmentedImage(rgb_HW3))


def random_graph(seed, number=14):
    """Colour distances, adjacency with a part of its own and a region without neighbours, four sides."""
    random = np.random.default_rng(seed)
    adjacency_NN = random.random((number, number)) < 0.15
    part_N = np.digitize(np.arange(number), [number - 4, number - 1])
    adjacency_NN |= np.eye(number, k=1, dtype=bool)
    adjacency_NN = (adjacency_NN | adjacency_NN.T) & (part_N[:, None] == part_N) & ~np.eye(number, dtype=bool)
    side_N4 = np.zeros((number, 4), dtype=bool)
    side_N4[random.permutation(number - 4)[:6], [0, 1, 2, 3, 0, 2]] = True
    return distances(random.uniform(0, 30, (number, 3))), adjacency_NN, side_N4


def slow_links(adjacency_NN, border_N):
    number = len(border_N)
    near = [
        {j for j in range(number) if j != i and (adjacency_NN[i, j] or (border_N[i] and border_N[j]))}
        for i in range(number)
    ]
    return [(near[i] | set().union(*(near[j] for j in near[i]))) - {i} for i in range(number)]


def slow_affinity(lab_NN, links, sigma2):
    lengths = [lab_NN[i, j] for i in range(len(links)) for j in links[i]]
    weight_NN = np.zeros(lab_NN.shape)
    for i in range(len(links)):
        for j in links[i]:
            weight_NN[i, j] = math.exp(-(lab_NN[i, j] - min(lengths)) / (max(lengths) - min(lengths)) / sigma2)
    return weight_NN


def slow_rank(weight_NN, query_N, alpha):
    """f* without each query's part in its own rank, by f <- D^-1 (alpha W f + y) until nothing changes."""
    ranks = np.zeros(len(query_N))
    for source in np.flatnonzero(query_N):
        f = [0.0] * len(query_N)
        for _ in range(6000):
            last = f
            f = [
                (alpha * sum(w * value for w, value in zip(row, last, strict=True)) + (i == source)) / sum(row)
                if sum(row)
                else 0.0
                for i, row in enumerate(weight_NN.tolist())
            ]
            if max(abs(a - b) for a, b in zip(f, last, strict=True)) < 1e-14:
                break
        f[source] = 0.0
        ranks += f
    return ranks


def slow_minmax(values):
    return [(value - min(values)) / (max(values) - min(values)) for value in values]


@pytest.mark.parametrize("seed", range(4))
def test_links_and_affinity_against_loops(seed):
    lab_NN, adjacency_NN, side_N4 = random_graph(seed)
    border_N = side_N4.any(1)
    links_NN = graph_links(adjacency_NN, border_N)
    links = slow_links(adjacency_NN, border_N)
    assert [set(np.flatnonzero(row)) for row in links_NN] == links
    np.testing.assert_allclose(affinity(lab_NN, links_NN, 0.1), slow_affinity(lab_NN, links, 0.1), atol=1e-12)
    np.testing.assert_allclose(affinity(lab_NN, links_NN, 0.4), slow_affinity(lab_NN, links, 0.4), atol=1e-12)


def test_a_region_beside_the_border_is_linked_with_all_of_it():
    # a chain 0 - 1 - 2 - 3 - 4 - 5, where 0, 4 and 5 are the border
    adjacency_NN = np.eye(6, k=1, dtype=bool) | np.eye(6, k=-1, dtype=bool)
    links_NN = graph_links(adjacency_NN, np.array([True, False, False, False, True, True]))
    assert links_NN[1].tolist() == [True, False, True, True, True, True]
    assert links_NN[2].tolist() == [True, True, False, True, True, False]
    assert not links_NN.diagonal().any() and (links_NN == links_NN.T).all()


@pytest.mark.parametrize("seed", range(2))
def test_both_stages_against_loops(seed):
    lab_NN, adjacency_NN, side_N4 = random_graph(seed, 10)
    weight_NN = affinity(lab_NN, graph_links(adjacency_NN, side_N4.any(1)))
    ranking_NN = ranking_matrix(weight_NN, alpha=0.9)
    for query_N in side_N4.T:
        np.testing.assert_allclose(ranking_NN @ query_N, slow_rank(weight_NN, query_N, 0.9), atol=1e-8)

    product = [1.0] * len(side_N4)
    for query_N in side_N4.T:
        ranked = slow_minmax(slow_rank(weight_NN, query_N, 0.9))
        product = [value * (1 - rank) for value, rank in zip(product, ranked, strict=True)]
    first = slow_minmax(product)
    np.testing.assert_allclose(background_stage(ranking_NN, side_N4), first, atol=1e-8)

    query_N = np.array([value >= sum(first) / len(first) for value in first])
    assert 0 < query_N.sum() < len(query_N)
    second = slow_minmax(slow_rank(weight_NN, query_N, 0.9))
    np.testing.assert_allclose(foreground_stage(ranking_NN, np.array(first)), second, atol=1e-8)


def test_nothing_follows_from_a_first_stage_of_nothing():
    ranking_NN = ranking_matrix(np.array([[0, 1, 0.5], [1, 0, 0.1], [0.5, 0.1, 0]]))
    assert not foreground_stage(ranking_NN, np.zeros(3)).any()
    assert foreground_stage(ranking_NN, np.array([0, 1.0, 0])).argmax() == 0


@pytest.mark.parametrize("alpha", [0.5, 0.99])
def test_ranking_matrix_solves_the_equation_and_leaves_out_the_query(alpha):
    lab_NN, adjacency_NN, side_N4 = random_graph(0)
    weight_NN = affinity(lab_NN, graph_links(adjacency_NN, side_N4.any(1)))
    linked_N = weight_NN.any(1)
    assert not linked_N.all()
    system_NN = (np.diag(weight_NN.sum(1)) - alpha * weight_NN)[np.ix_(linked_N, linked_N)]
    expected_NN = np.linalg.lstsq(system_NN, np.eye(len(system_NN)), rcond=None)[0]
    np.fill_diagonal(expected_NN, 0)
    found_NN = ranking_matrix(weight_NN, alpha)
    np.testing.assert_allclose(found_NN[np.ix_(linked_N, linked_N)], expected_NN, rtol=1e-9, atol=1e-10)
    assert not found_NN[~linked_N].any() and not found_NN[:, ~linked_N].any() and not found_NN.diagonal().any()


def test_the_whole_cue_is_its_stages():
    regions = voronoi(0, 60)
    weight_NN = slow_affinity(regions.lab_distance_NN, slow_links(regions.adjacency_NN, regions.border()), 0.1)
    inverse_NN = np.linalg.pinv(np.diag(weight_NN.sum(1)) - 0.99 * weight_NN)
    inverse_NN[np.eye(len(regions), dtype=bool)] = 0
    first = np.ones(len(regions))
    labels_HW = regions.labels_HW
    for side in (labels_HW[0], labels_HW[-1], labels_HW[:, 0], labels_HW[:, -1]):
        first *= 1 - np.array(slow_minmax(sum(inverse_NN[:, region] for region in set(side))))
    second = slow_minmax(sum(inverse_NN[:, region] for region in np.flatnonzero(first >= first.mean())))
    np.testing.assert_allclose(ManifoldRanking().of_superpixels(regions), second, atol=1e-8)


@pytest.mark.parametrize(
    ("ground", "figure", "centre"),
    [(60, 220, (100, 120)), (220, 60, (100, 120)), ((40, 120, 60), (200, 60, 50), (75, 160))],
)
def test_a_disc_is_found(ground, figure, centre):
    rgb_HW3, inside_HW = disc(ground, figure, centre)
    map_HW = saliency(rgb_HW3)
    assert map_HW.dtype == np.float32 and map_HW.shape == inside_HW.shape and map_HW.max() == 1
    assert map_HW[inside_HW].mean() > 0.85
    assert map_HW[~inside_HW].mean() < 0.15


@pytest.mark.parametrize("axis", [0, 1])
def test_flipping_the_image_flips_the_map(axis):
    rgb_HW3, _ = disc((40, 120, 60), (200, 60, 50), centre=(85, 150))
    again_HW = np.flip(saliency(np.ascontiguousarray(np.flip(rgb_HW3, axis))), axis)
    assert np.corrcoef(saliency(rgb_HW3).ravel(), again_HW.ravel())[0, 1] > 0.95


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("seed", range(3))
def test_flipping_superpixels_changes_nothing(seed, axis):
    regions, cue = voronoi(seed, 60), ManifoldRanking()
    found_N = cue.of_superpixels(regions)
    assert found_N.min() == 0 and found_N.max() == 1 and len(np.unique(found_N)) > len(regions) / 2
    np.testing.assert_allclose(cue.of_superpixels(flipped(regions, axis)), found_N, atol=1e-8)


def test_twice_the_size_gives_nearly_the_same_map():
    rgb_HW3, _ = disc(60, 220, centre=(85, 150))
    small_HW = np.kron(saliency(rgb_HW3), np.ones((2, 2)))
    large_HW = saliency(np.kron(rgb_HW3, np.ones((2, 2, 1), dtype=np.uint8)))
    assert np.corrcoef(small_HW.ravel(), large_HW.ravel())[0, 1] > 0.9


noise = np.random.default_rng(0)
BAD = {
    "8x8": noise.integers(0, 256, (8, 8, 3)),
    "1x1": noise.integers(0, 256, (1, 1, 3)),
    "1x7": noise.integers(0, 256, (1, 7, 3)),
    "2x300": noise.integers(0, 256, (2, 300, 3)),
    "halves": np.where(np.arange(90)[None, :, None] < 45, 30, 200) * np.ones((70, 1, 3)),
    "two pixels of another colour": np.where(np.arange(4900).reshape(70, 70, 1) < 2, 0, 9) * np.ones(3),
    "noise": noise.integers(0, 256, (90, 120, 3)),
    "faint noise": noise.integers(128, 130, (90, 120, 3)),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("superpixels", [1, 2, 4, 200])
def test_any_image_has_a_map(name, superpixels):
    map_HW = saliency(BAD[name].astype(np.uint8), superpixels=superpixels)
    assert map_HW.shape == BAD[name].shape[:2] and map_HW.dtype == np.float32
    assert np.isfinite(map_HW).all() and map_HW.min() >= 0 and map_HW.max() in (0, 1)


@pytest.mark.parametrize("shape", [(1, 1), (8, 8), (2, 300), (60, 90)])
@pytest.mark.parametrize("color", [0, 255, (17, 130, 99)])
def test_nothing_stands_out_of_one_color(shape, color):
    assert not saliency(np.full((*shape, 3), color, dtype=np.uint8)).any()


@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee"])
def test_photographs(name):
    photo_HW3 = resize(getattr(skimage.data, name)(), (300, 400), anti_aliasing=True)
    map_HW = saliency(np.round(photo_HW3 * 255).astype(np.uint8))
    assert np.isfinite(map_HW).all() and map_HW.min() == 0 and map_HW.max() == 1
    assert 0.02 < map_HW.mean() < 0.6 and map_HW.std() > 0.05
