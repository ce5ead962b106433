# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Order is a function of (seed, epoch, ranks); every row is seen once a pass; any position can be entered."""

import io
import tarfile
from collections import Counter

import numpy as np
import pytest
from tiny_images import encoded

from mscn_hf.data import CanvasCollate, ExactLoader, Share, SourceError, open_order, open_source
from mscn_hf.data.stream import UncountedOrder, WholeOrder, WindowOrder


def remote(folder: str):
    """A local source that is treated as one far away: read in windows, never permuted whole."""
    source = open_source(folder)
    source.is_local = False
    return source


def ids(order, epoch=0, start=0):
    return [sample.row.id for sample in order.samples(epoch, start)]


ORDERS = {
    "whole": (lambda folder: open_source(folder), 2**30, WholeOrder),
    "mapped": (lambda folder: open_source(folder), 1000, WholeOrder),
    "windows": (remote, 5000, WindowOrder),
}


@pytest.mark.parametrize("kind", ORDERS)
@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize("shards", [1, 4])
def test_each_pass_shows_every_row_once_but_a_tail(parquet_folder, kind, ranks, shards):
    opened, window, expected_class = ORDERS[kind]
    folder = parquet_folder(107, shards=shards)
    orders = [open_order(opened(folder), Share(5, r, ranks, 4), window_bytes=window) for r in range(ranks)]
    assert isinstance(orders[0], expected_class)
    for epoch in (0, 1):
        seen = [ids(order, epoch) for order in orders]
        assert [len(s) for s in seen] == [107 // ranks // 4 * 4] * ranks
        counts = Counter(i for s in seen for i in s)
        assert set(counts.values()) == {1}
        assert 107 - len(counts) < 4 * ranks + ranks  # less than a batch a rank
    assert ids(orders[0], 0) != ids(orders[0], 1)
    assert ids(orders[0], 1) == ids(open_order(opened(folder), Share(5, 0, ranks, 4), window_bytes=window), 1)
    assert ids(orders[0], 0) != ids(open_order(opened(folder), Share(6, 0, ranks, 4), window_bytes=window), 0)


@pytest.mark.parametrize("kind", ORDERS)
@pytest.mark.parametrize("start", [0, 4, 20, 48])
def test_any_position_can_be_entered(parquet_folder, kind, start):
    opened, window, _ = ORDERS[kind]
    order = open_order(opened(parquet_folder(107, shards=3)), Share(1, 1, 2, 4), window_bytes=window)
    assert ids(order, 3, start) == ids(order, 3)[start:]


def test_entering_late_reads_no_earlier_window(parquet_folder):
    source = remote(parquet_folder(200, shards=2))
    order = open_order(source, Share(0, 0, 1, 10), window_bytes=3000)
    read = []
    original = source.read_chunk
    source.read_chunk = lambda index: (read.append(index), original(index))[1]
    tail = list(order.samples(0, 190))
    assert len(tail) == 10
    assert len(read) <= 4  # of 20 row groups


@pytest.mark.parametrize("kind", ["whole", "mapped"])
def test_label_sorted_local_sources_are_mixed_on_every_rank(parquet_folder, kind):
    opened, window, _ = ORDERS[kind]
    folder = parquet_folder(400)
    for rank in range(2):
        order = open_order(opened(folder), Share(0, rank, 2, 8), window_bytes=window)
        first = [s.row.label for s in order.samples(0)][:80]
        assert min(Counter(first)[k] for k in range(4)) >= 8


def test_windows_mix_the_rows_of_several_chunks(parquet_folder):
    order = open_order(remote(parquet_folder(400)), Share(0, 0, 1, 8), window_bytes=30_000)
    first = [s.row.label for s in order.samples(0)][:80]
    assert len(set(first)) >= 3


def test_positions_name_rows_whatever_the_order(parquet_folder):
    folder = parquet_folder(60, shards=2)
    named = [
        {
            s.row.id: s.position
            for s in open_order(opened(folder), Share(seed, 0, 1, 1), window_bytes=window).samples(0)
        }
        for seed, (opened, window, _) in enumerate(ORDERS.values())
    ]
    assert named[0] == named[1] == named[2]
    assert len(set(named[0].values())) == 60


def tar_folder(tmp_path, shards=4, rows=6):
    (tmp_path / "tars").mkdir()
    for shard in range(shards):
        with tarfile.open(tmp_path / "tars" / f"train-{shard:03d}.tar", "w") as tar:
            for number in range(rows):
                data = encoded(shard * rows + number)
                info = tarfile.TarInfo(f"{shard}-{number}.jpg")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return str(tmp_path / "tars")


def test_uncounted_remote_source_takes_samples_per_epoch(tmp_path):
    folder = tar_folder(tmp_path)
    with pytest.raises(SourceError, match="set samples_per_epoch"):
        open_order(remote(folder), Share(0))
    orders = [open_order(remote(folder), Share(0, r, 2, 2), window_bytes=2000, samples_per_epoch=24) for r in range(2)]
    assert isinstance(orders[0], UncountedOrder)
    first = [ids(order) for order in orders]
    assert Counter(i for s in first for i in s) == Counter(i.id for i in remote(folder).rows())
    assert ids(orders[0], 0, 5) == first[0][5:]
    longer = open_order(remote(folder), Share(0, 0, 1, 2), window_bytes=2000, samples_per_epoch=60)
    assert len(ids(longer)) == 60  # its files are begun anew
    with pytest.raises(SourceError, match="has 4 files for 5 processes"):
        open_order(remote(folder), Share(0, 0, 5), samples_per_epoch=24)


def test_local_tars_are_counted_and_permuted_whole(tmp_path):
    order = open_order(open_source(tar_folder(tmp_path)), Share(0, 0, 1, 4))
    assert isinstance(order, WholeOrder)
    assert len(set(ids(order))) == 24


def test_fewer_rows_than_a_batch_a_rank(parquet_folder):
    with pytest.raises(SourceError, match=r"has 20 rows: fewer than one batch of 16 for each of 2 process"):
        open_order(open_source(parquet_folder(20)), Share(0, 0, 2, 16))


def test_samples_per_epoch_is_refused_where_rows_are_counted(parquet_folder):
    with pytest.raises(SourceError, match="samples_per_epoch=10 is for sources without a row count"):
        open_order(open_source(parquet_folder(20)), Share(0), samples_per_epoch=10)


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_loader_order_does_not_depend_on_workers(parquet_folder, workers):
    order = open_order(open_source(parquet_folder(50)), Share(2, 0, 1, 8))
    loader = ExactLoader(order, CanvasCollate(16), 8, num_workers=workers)
    assert len(loader) == 6
    for epoch in (0, 1):
        loader.set_epoch(epoch)
        batches = list(loader)
        assert [i for b in batches for i in b["ids"]] == ids(order, epoch)
        assert {b["epoch"] for b in batches} == {epoch}
    loader.seek(4)
    assert [i for b in loader for i in b["ids"]] == ids(order, 1)[32:]
    assert len(list(loader)) == 6  # a seek counts once


def test_canvas_places_images_and_replaces_broken_ones(parquet_folder):
    source = open_source(parquet_folder(12, broken=(3, 7)))
    samples = list(open_order(source, Share(0, 0, 1, 12)).samples(0))
    batch = CanvasCollate(10)(samples)
    assert batch["canvas"].shape == (12, 3, 10, 10)
    assert {i.rsplit("/", 1)[1] for i, _ in batch["broken"]} == {"3.png", "7.png"}
    label_of_image = {int(s.row.id.rsplit("/", 1)[1].removesuffix(".png")): s.row.label for s in samples}
    for slot, sample in enumerate(samples):
        number = int(sample.row.id.rsplit("/", 1)[1].removesuffix(".png"))
        height, width = batch["valid_hw"][slot].tolist()
        assert (height, width) == (7, 10)  # 12x8 shrunk to a longer side of 10
        shown = int(batch["canvas"][slot, 0, 2, 2])
        assert batch["position"][slot] == sample.position
        if number in (3, 7):
            assert shown not in (0, 3, 7)
        else:
            assert shown == number
            assert (batch["canvas"][slot, :, height:] == 0).all()
        assert batch["labels"][slot] == label_of_image[shown]  # the label belongs to the image that is shown


def test_a_batch_of_broken_images_is_reported_whole(parquet_folder):
    source = open_source(parquet_folder(4, broken=(0, 1, 2, 3)))
    batch = CanvasCollate(10)(list(open_order(source, Share(0, 0, 1, 4)).samples(0)))
    assert len(batch["broken"]) == 4
    assert not batch["canvas"].any()


def test_first_labels_are_not_sorted_by_chance(parquet_folder):
    order = open_order(open_source(parquet_folder(200)), Share(0, 0, 1, 1))
    labels = np.array([s.row.label for s in order.samples(0)])
    assert abs(np.corrcoef(labels, np.arange(len(labels)))[0, 1]) < 0.3
