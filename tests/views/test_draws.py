# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Counter-based random numbers: against the published generator, and as good uniform numbers."""

import numpy as np
import pytest
import torch
from scipy import stats

from mscn_hf.views.draws import Draws, integer_below

MASK = (1 << 64) - 1


def splitmix64(state: int, counter: int) -> int:
    """Output number `counter` of SplitMix64 started at `state`, in Python's integers (Steele et al., 2014)."""
    word = (state + 0x9E3779B97F4A7C15 * (counter + 1)) & MASK
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & MASK
    return word ^ (word >> 31)


def test_splitmix64_oracle_gives_the_published_numbers():
    # the first outputs for seed 1234567 on Rosetta Code's page of the generator
    assert [splitmix64(1234567, n) for n in range(2)] == [6457827717110365317, 3203168211198807973]


@pytest.mark.parametrize("seed", [0, 1, -5, 2**63 + 11])
def test_numbers_are_a_chain_of_splitmix64(seed):
    positions = torch.tensor([0, 3, 2**40, 2**62])
    numbers = Draws(seed, 7, positions).uniform(view=2, stream=5, n=3)
    for row, position in enumerate(positions.tolist()):
        for column in range(3):
            state = 0
            for word in (seed & MASK, 7, position, 2, 5, column):
                state = splitmix64(state, word)
            assert numbers[row, column].item() == (state >> 40) / 2**24


def test_numbers_belong_to_the_sample_not_to_the_batch():
    positions = torch.randperm(1000, generator=torch.Generator().manual_seed(0))
    whole = Draws(3, 1, positions).uniform(1, 2, 12)
    pieces = torch.cat([Draws(3, 1, part).uniform(1, 2, 12) for part in positions.split(64)])
    reverse = Draws(3, 1, positions.flip(0)).uniform(1, 2, 12).flip(0)
    assert torch.equal(whole, pieces) and torch.equal(whole, reverse)
    assert torch.equal(whole[:, :5], Draws(3, 1, positions).uniform(1, 2, 5)), "more columns must not change the first"
    assert torch.equal(whole[100:200], Draws(3, 1, positions).part(slice(100, 200)).uniform(1, 2, 12))


def test_numbers_are_uniform():
    numbers = Draws(0, 0, torch.arange(20_000)).uniform(0, 0, 50).double().flatten().numpy()
    assert 0 <= numbers.min() < 1e-5 and 1 - 1e-5 < numbers.max() < 1
    assert stats.kstest(numbers, "uniform").pvalue > 1e-3
    counts = np.bincount((numbers * 4096).astype(int), minlength=4096)
    assert stats.chisquare(counts).pvalue > 1e-3
    low_bits = (numbers * 2**24).astype(int) % 256
    assert stats.chisquare(np.bincount(low_bits, minlength=256)).pvalue > 1e-3


@pytest.mark.parametrize("changed", ["seed", "epoch", "position", "view", "stream", "column"])
def test_neighbouring_keys_give_independent_numbers(changed):
    count = 60_000

    def numbers(step: int) -> torch.Tensor:
        key = dict.fromkeys(("seed", "epoch", "position", "view", "stream", "column"), 0) | {changed: step}
        draws = Draws(key["seed"], key["epoch"], torch.arange(count) + key["position"])
        return draws.uniform(key["view"], key["stream"], key["column"] + 1)[:, -1].double()

    first, second = numbers(0), numbers(1)
    if changed == "position":  # the same sequence, shifted by one
        assert torch.equal(first[1:], second[:-1])
    assert abs(torch.corrcoef(torch.stack([first, second]))[0, 1]) < 4 / count**0.5
    pairs = ((first * 32).long() * 32 + (second * 32).long()).bincount(minlength=1024)
    assert stats.chisquare(pairs.numpy()).pvalue > 1e-3, "pairs must fill the square evenly"


def test_one_bit_of_the_key_changes_half_of_the_bits():
    positions = torch.arange(4000)
    bits = [
        (Draws(0, 0, positions).uniform(0, 0, 1) * 2**24).long() ^ (Draws(*key).uniform(0, 0, 1) * 2**24).long()
        for key in ((1, 0, positions), (0, 1, positions), (0, 0, positions ^ 1), (0, 0, positions ^ (1 << 40)))
    ]
    for changed in bits:
        share = torch.stack([(changed >> bit) & 1 for bit in range(24)]).double().mean((1, 2))
        assert (share - 0.5).abs().max() < 5 * 0.5 / 4000**0.5


def test_integers_stay_below_their_count():
    highest = torch.full((3,), 1 - 2.0**-24)
    assert integer_below(highest, torch.tensor([1, 3000, 2**23])).tolist() == [0, 2999, 2**23 - 1]
    drawn = integer_below(Draws(0, 0, torch.arange(70_000)).uniform(0, 0, 1)[:, 0], 7)
    assert stats.chisquare(drawn.bincount(minlength=7).numpy()).pvalue > 1e-3


def test_generator_seeds_differ_and_are_valid():
    seeds = {
        Draws(s, e, torch.tensor([p])).generator_seed(v, 8)
        for s in (0, 1)
        for e in (0, 1)
        for p in (0, 1)
        for v in (0, 1)
    }
    assert len(seeds) == 16
    for seed in seeds:
        torch.Generator().manual_seed(seed)


def test_positions_of_a_wrong_kind_are_refused():
    with pytest.raises(ValueError, match="int64 of shape"):
        Draws(0, 0, torch.arange(3, dtype=torch.int32))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_numbers_are_the_same_on_cuda():
    positions = torch.arange(1000) * 12345
    on_cpu = Draws(3, 1, positions).uniform(1, 2, 40)
    assert torch.equal(on_cpu, Draws(3, 1, positions.cuda()).uniform(1, 2, 40).cpu())
