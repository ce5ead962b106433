# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Absorbing Markov chain saliency: each equation against loops, and pictures with something to find in them."""

import numpy as np
import pytest
import skimage.data
from saliency.pictures import warnings_are_errors  # noqa: F401
from skimage.transform import resize

from mscn_hf.saliency.markov_chain import (
    AbsorbingWalk,
    MarkovChain,
    affinity,
    indecision,
    opposite_links,
    rarity,
)
from mscn_hf.saliency.superpixels import SegmentedImage, Superpixels, distances


def saliency(rgb_HW3):
    return MarkovChain()(SegmentedImage(rgb_HW3))


def random_graph(seed, number=12):
    """Colour distances, adjacency of a ring with chords, some opposite links, and a border of four."""
    rng = np.random.default_rng(seed)
    distance_NN = distances(rng.uniform(0, 40, (number, 3)))
    adjacency_NN, opposite_NN = np.zeros((2, number, number), dtype=bool)
    for one in range(number):
        for other in ((one + 1) % number, rng.integers(number)):
            if one != other:
                adjacency_NN[one, other] = adjacency_NN[other, one] = True
    border_N = np.arange(number) < 4
    opposite_NN[0, 2] = opposite_NN[2, 0] = True
    return distance_NN, adjacency_NN, opposite_NN, border_N


def slow_transitions(weight_NN, border_N, visited_N):
    """Probabilities among the visited nodes, from a graph in which the copies are nodes of their own."""
    number = len(weight_NN)
    originals = [i for i in range(number) if border_N[i] and visited_N[i]]
    graph = np.zeros((number, number + len(originals)))
    for i in range(number):
        for j in range(number):
            graph[i, j] = weight_NN[i, j]
        for place, original in enumerate(originals):
            graph[i, number + place] = weight_NN[i, original]
    for i in range(number):
        graph[i] /= sum(graph[i])
    kept = [i for i in range(number) if visited_N[i]]
    return np.array([[graph[i, j] for j in kept] for i in kept])


def slow_time(transition_KK, cost_K):
    """Cost summed over steps: the share of walks still under way, step by step."""
    total_K, under_way_KK = np.zeros(len(cost_K)), np.eye(len(cost_K))
    while under_way_KK.max() > 1e-18:
        total_K += under_way_KK @ cost_K
        under_way_KK = under_way_KK @ transition_KK
    return total_K


def slow_saliency(distance_NN, adjacency_NN, opposite_NN, border_N):
    number = len(border_N)
    near = [[j for j in range(number) if adjacency_NN[i, j] or opposite_NN[i, j]] for i in range(number)]
    links = [(i, j) for i in range(number) for j in {*near[i], *(k for m in near[i] for k in near[m])} if i != j]
    least, most = (pick(distance_NN[i, j] for i, j in links) for pick in (min, max))
    weight = np.eye(number)
    for i, j in links:
        weight[i, j] = np.exp(-10 * (distance_NN[i, j] - least) / (most - least)) + 0.00001
    degree = [sum(row) for row in weight]
    visited = np.array([d >= 1.1 for d in degree])
    transition = slow_transitions(weight, border_N, visited)

    def scaled(y):
        return [(value - min(y)) / (max(y) - min(y)) for value in y]

    found = scaled(slow_time(transition, np.ones(visited.sum())))
    shares = np.histogram(found, bins=10, range=(0, 1))[0] / len(found)
    if sum(h * min(j, 11 - j) for j, h in enumerate(shares, 1)) >= 2:
        visits = np.full(visited.sum(), 1 / visited.sum())
        ergodic = np.array([[weight[i, j] for j in np.flatnonzero(visited)] for i in np.flatnonzero(visited)])
        # what goes to nodes set aside stays where it is, which keeps the shares d_i / sum d
        for row, i in enumerate(np.flatnonzero(visited)):
            ergodic[row, row] += degree[i] - ergodic[row].sum()
            ergodic[row] /= degree[i]
        for _ in range(30000):
            visits = visits @ ergodic
        found = scaled(slow_time(transition, 1 / visits))
    result = np.zeros(number)
    result[visited] = found
    for i in np.flatnonzero(~visited):
        if any(adjacency_NN[i, j] and visited[j] and result[j] > 0.3 for j in range(number)):
            result[i] = 1
    return result


def test_opposite_links_by_loops():
    labels_HW = np.random.default_rng(0).integers(0, 9, (7, 5))
    expected = np.zeros((9, 9), dtype=bool)
    ends = [(labels_HW[0, x], labels_HW[6, x]) for x in range(5)] + [(row[0], row[4]) for row in labels_HW]
    for one, other in ends:
        if one != other:
            expected[one, other] = expected[other, one] = True
    assert np.array_equal(opposite_links(labels_HW), expected)


def test_weights_by_hand():
    distance_NN = np.array([[0.0, 2, 5], [2, 0, 6], [5, 6, 0]])
    linked_NN = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], dtype=bool)  # of 2 and 6: the 5 is no link
    expected = [[1, 1 + 1e-5, 0], [1 + 1e-5, 1, np.exp(-10) + 1e-5], [0, np.exp(-10) + 1e-5, 1]]
    np.testing.assert_allclose(affinity(distance_NN, linked_NN, 0.1), expected, rtol=1e-14)


@pytest.mark.parametrize("seed", range(3))
def test_absorbed_time_is_the_sum_over_steps(seed):
    rng = np.random.default_rng(seed)
    weight_NN = rng.uniform(0.1, 1, (9, 9))
    weight_NN += weight_NN.T
    border_N, visited_N = rng.random((2, 9)) < [[0.4], [0.8]]
    border_N[0] = visited_N[:2] = True
    walk = AbsorbingWalk(weight_NN, border_N, visited_N)
    transition_KK = slow_transitions(weight_NN, border_N, visited_N)
    cost_K = rng.uniform(1, 3, visited_N.sum())
    np.testing.assert_allclose(walk.absorbed_time(cost_K), slow_time(transition_KK, cost_K), rtol=1e-10)
    ones_K = np.ones(len(cost_K))
    np.testing.assert_allclose(walk.absorbed_time(), slow_time(transition_KK, ones_K), rtol=1e-10)


def test_a_line_of_nodes_by_hand():
    # end - middle - end, all weights 1; the ends have copies
    weight_NN = np.array([[1.0, 1, 0], [1, 1, 1], [0, 1, 1]])
    walk = AbsorbingWalk(weight_NN, np.array([True, False, True]), np.ones(3, dtype=bool))
    # end: y = 1 + (y + m) / 3; middle: m = 1 + (2 y + m) / 5
    np.testing.assert_allclose(walk.absorbed_time(), [17 / 6, 8 / 3, 17 / 6], rtol=1e-12)


def test_a_part_no_walk_leaves_gives_finite_times():
    weight_NN = np.kron(np.eye(2), np.ones((2, 2)))
    walk = AbsorbingWalk(weight_NN, np.array([True, False, False, False]), np.ones(4, dtype=bool))
    assert np.isfinite(walk.absorbed_time()).all()


def test_indecision():
    assert indecision(np.array([0.0, 0.05, 0.95, 1.0])) == 1
    assert indecision(np.array([0.45, 0.5])) == 5
    values_K = np.random.default_rng(0).random(50)
    shares = np.histogram(values_K, bins=10, range=(0, 1))[0] / 50
    assert indecision(values_K) == pytest.approx(sum(h * min(j, 11 - j) for j, h in enumerate(shares, 1)))


def test_rarity_is_the_inverse_of_the_equilibrium():
    rng = np.random.default_rng(0)
    weight_NN = rng.uniform(0.1, 1, (6, 6))
    weight_NN += weight_NN.T
    visits_N = np.full(6, 1 / 6)
    for _ in range(200):
        visits_N = visits_N @ (weight_NN / weight_NN.sum(axis=1, keepdims=True))
    np.testing.assert_allclose(rarity(weight_NN.sum(axis=1)), 1 / visits_N, rtol=1e-12)


def test_all_steps_together_by_loops():
    undecided = set_aside = 0
    for seed in range(12):
        graph = random_graph(seed)
        if seed % 3 == 0:  # one node unlike all others
            graph[0][7] += 60
            graph[0][:, 7] += 60
            graph[0][7, 7] = 0
        expected = slow_saliency(*graph)
        np.testing.assert_allclose(MarkovChain().of_graph(*graph), expected, atol=1e-9)
        undecided += not np.array_equal(MarkovChain(undecided=9).of_graph(*graph), MarkovChain().of_graph(*graph))
        set_aside += expected[7] in (0, 1) and seed % 3 == 0
    assert undecided >= 3 and set_aside >= 3  # both branches were taken


def test_what_resembles_nothing_follows_its_neighbours():
    """A chain of nodes from the border inwards; the one that resembles nothing is 1 only beside a salient one."""
    number, odd = 12, 11
    colour_N3 = np.repeat([[0.0], [4.0]], [6, 6], axis=0) + np.zeros((12, 3))
    colour_N3[odd] = 100
    for beside, expected in ((10, 1), (1, 0)):
        adjacency_NN = np.eye(number, k=1, dtype=bool) | np.eye(number, k=-1, dtype=bool)
        adjacency_NN[odd], adjacency_NN[:, odd] = False, False
        adjacency_NN[odd, beside] = adjacency_NN[beside, odd] = True
        border_N = np.arange(number) < 2
        found_N = MarkovChain().of_graph(distances(colour_N3), adjacency_NN, np.zeros_like(adjacency_NN), border_N)
        assert found_N[10] > 0.9 and found_N[1] < 0.1 and found_N[odd] == expected


def disc(height=150, width=200, centre=(75, 100), radius=35, inside=230, outside=60):
    rows_HW, columns_HW = np.mgrid[:height, :width]
    inside_HW = (rows_HW - centre[0]) ** 2 + (columns_HW - centre[1]) ** 2 < radius**2
    rgb_HW3 = np.full((height, width, 3), outside, dtype=np.uint8)
    rgb_HW3[inside_HW] = inside
    noise_HW3 = np.random.default_rng(0).integers(-3, 4, rgb_HW3.shape)
    return (rgb_HW3 + noise_HW3).astype(np.uint8), inside_HW


@pytest.mark.parametrize(
    "changes", [{}, {"inside": 20, "outside": 220}, {"centre": (55, 55)}, {"inside": (200, 40, 40), "outside": 120}]
)
def test_a_disc_is_found(changes):
    rgb_HW3, inside_HW = disc(**changes)
    found_HW = saliency(rgb_HW3)
    assert found_HW.dtype == np.float32 and found_HW.shape == inside_HW.shape and found_HW.max() == 1
    assert found_HW[inside_HW].mean() > 0.8 and found_HW[~inside_HW].mean() < 0.1


@pytest.mark.parametrize("flip", [np.flipud, np.fliplr])
def test_a_flipped_picture_has_a_flipped_map(flip):
    rgb_HW3, _ = disc(centre=(55, 70))
    flipped_HW = flip(saliency(np.ascontiguousarray(flip(rgb_HW3))))
    assert np.corrcoef(saliency(rgb_HW3).ravel(), flipped_HW.ravel())[0, 1] > 0.9  # SLIC is not symmetric


@pytest.mark.parametrize("flip", [np.flipud, np.fliplr])
def test_flipped_superpixels_have_the_same_saliency(flip):
    image = SegmentedImage(shrunk(skimage.data.coffee(), 90, 120))
    flipped = SegmentedImage(np.ascontiguousarray(flip(image.rgb_HW3)))
    labels_HW = image.superpixels(250, 20.0).labels_HW
    # the flipped picture is given the same regions, numbered differently
    order_N = np.random.default_rng(0).permutation(labels_HW.max() + 1).astype(np.int32)
    flipped._kept[250, 20.0] = Superpixels(order_N[flip(labels_HW)], flipped.rgb_HW3, flipped.lab_HW3)
    np.testing.assert_allclose(flip(MarkovChain()(flipped)), MarkovChain()(image), atol=1e-6)  # float32 maps
    one, other = image.superpixels(250, 20.0), flipped.superpixels(250, 20.0)
    saliency_N, permuted_N = (
        MarkovChain().of_graph(
            regions.lab_distance_NN, regions.adjacency_NN, opposite_links(regions.labels_HW), regions.border()
        )
        for regions in (one, other)
    )
    np.testing.assert_allclose(permuted_N[order_N], saliency_N, atol=1e-8)


def test_twice_the_size_has_nearly_the_same_map():
    small, _ = disc()
    large = np.ascontiguousarray(small.repeat(2, axis=0).repeat(2, axis=1))
    halved_HW = saliency(large)[::2, ::2]
    assert np.corrcoef(saliency(small).ravel(), halved_HW.ravel())[0, 1] > 0.9


@pytest.mark.parametrize("level", [0, 1, 128, 255, (200, 30, 90)])
@pytest.mark.parametrize("shape", [(1, 1), (8, 8), (60, 80)])
def test_one_colour_has_nothing_salient(shape, level):
    rgb_HW3 = np.full((*shape, 3), level, dtype=np.uint8)
    assert not saliency(rgb_HW3).any()


def odd_pictures():
    rng = np.random.default_rng(0)
    halves = np.full((60, 80, 3), 30, dtype=np.uint8)
    halves[:, 40:] = 220
    yield "halves", halves
    dot = np.full((60, 80, 3), 30, dtype=np.uint8)
    dot[30, 40] = 255
    yield "dot", dot
    for shape in ((1, 1), (1, 2), (2, 2), (1, 50), (8, 8), (2, 300), (300, 2), (3, 5), (60, 80)):
        yield f"noise {shape}", rng.integers(0, 256, (*shape, 3), dtype=np.uint8)


@pytest.mark.parametrize("name, rgb_HW3", odd_pictures())
def test_odd_pictures(name, rgb_HW3):
    found_HW = saliency(rgb_HW3)
    assert found_HW.shape == rgb_HW3.shape[:2] and found_HW.dtype == np.float32
    assert np.isfinite(found_HW).all() and found_HW.min() >= 0 and found_HW.max() in (0, 1)


def test_all_superpixels_at_the_border():
    """Each step then ends the walk with probability 1/2 wherever it is, so that nothing stands out."""
    distance_NN, adjacency_NN, opposite_NN, _ = random_graph(1)
    found_N = MarkovChain().of_graph(distance_NN, adjacency_NN, opposite_NN, np.ones(12, dtype=bool))
    assert not found_N.any()


def test_no_links_and_parts_without_border():
    nothing_NN = np.zeros((4, 4), dtype=bool)
    distance_NN = distances(np.arange(12.0).reshape(4, 3))
    assert not MarkovChain().of_graph(distance_NN, nothing_NN, nothing_NN, np.ones(4, dtype=bool)).any()
    parts_NN = np.kron(np.eye(2, dtype=bool), ~np.eye(3, dtype=bool))
    distance_NN = distances(np.random.default_rng(0).uniform(0, 9, (6, 3)))
    found_N = MarkovChain().of_graph(distance_NN, parts_NN, np.zeros_like(parts_NN), np.arange(6) == 0)
    assert np.isfinite(found_N).all() and found_N.min() >= 0 and found_N.max() <= 1


def shrunk(rgb_HW3, height, width):
    return (resize(rgb_HW3, (height, width), anti_aliasing=True) * 255).round().astype(np.uint8)


@pytest.mark.parametrize("picture", ["astronaut", "chelsea", "coffee"])
def test_photographs(picture):
    found_HW = saliency(shrunk(getattr(skimage.data, picture)(), 300, 400))
    assert np.isfinite(found_HW).all() and found_HW.min() == 0 and found_HW.max() == 1 and found_HW.std() > 0.05
