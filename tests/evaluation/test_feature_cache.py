# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0

import numpy as np
import pytest
import torch
from launching import run_script
from small_data import ListSource, noisy_images, png, save_tiny_resnet

from mscn_hf.evaluation.features import extract, load_encoder


@pytest.fixture
def rows():
    return noisy_images(23, seed=0)


def test_rows_stand_in_stored_order_whatever_batch_and_workers(tiny_model, rows, tmp_path):
    encoder = load_encoder(str(tiny_model))
    whole = extract(encoder, ListSource(*rows), tmp_path / "a", batch_size=23, progress=False)
    pieces = extract(encoder, ListSource(*rows), tmp_path / "b", batch_size=4, num_workers=2, progress=False)
    np.testing.assert_allclose(whole.features, pieces.features, atol=1e-5)
    assert whole.labels.tolist() == pieces.labels.tolist() == rows[1]
    assert pieces.rows.tolist() == list(range(23))
    assert isinstance(whole.features, np.memmap) and whole.features.dtype == np.float32


def test_the_cache_is_used_and_never_for_anything_else(tiny_model, rows, tmp_path):
    cache = tmp_path / "cache"
    encoder = load_encoder(str(tiny_model))
    source = ListSource(*rows)
    first = extract(encoder, source, cache, progress=False)
    again = extract(encoder, source, cache, progress=False)
    assert source.times_read == 1
    np.testing.assert_array_equal(first.features, again.features)
    assert again.labels.tolist() == first.labels.tolist()

    other_weights = load_encoder(str(save_tiny_resnet(tmp_path / "other", seed=9)))
    other_crop = load_encoder(str(save_tiny_resnet(tmp_path / "crop", seed=11, image_size=32)))
    assert other_crop.weights_hash == encoder.weights_hash
    buffers = load_encoder(str(tiny_model)).model
    for name, buffer in buffers.named_buffers():
        if "running_mean" in name:
            buffer.add_(0.5)
    buffers.save_pretrained(tmp_path / "bn")
    (tmp_path / "bn" / "preprocessor_config.json").write_bytes((tiny_model / "preprocessor_config.json").read_bytes())
    other_buffers = load_encoder(str(tmp_path / "bn"))
    for changed in (other_weights, other_crop, other_buffers):
        source = ListSource(*rows)
        features = extract(changed, source, cache, progress=False).features
        assert source.times_read == 1
        assert not np.allclose(features, first.features, atol=1e-4)
    for changed in (ListSource(*rows, split="test"), ListSource(*rows, fingerprint="other data")):
        extract(encoder, changed, cache, progress=False)
        assert changed.times_read == 1
    limited = ListSource(*rows)
    assert len(extract(encoder, limited, cache, max_images=10, progress=False)) == 10
    assert not [path for path in cache.iterdir() if path.name.startswith(".partial")]


def test_a_damaged_entry_is_made_again(tiny_model, rows, tmp_path, caplog):
    encoder = load_encoder(str(tiny_model))
    good = np.array(extract(encoder, ListSource(*rows), tmp_path, progress=False).features)
    (entry,) = tmp_path.iterdir()
    for damage in ("flip", "cut"):
        content = bytearray((entry / "features.f32").read_bytes())
        (entry / "features.f32").write_bytes(
            content[:-8] if damage == "cut" else bytes([content[0] ^ 1]) + content[1:]
        )
        source = ListSource(*rows)
        np.testing.assert_array_equal(extract(encoder, source, tmp_path, progress=False).features, good)
        assert source.times_read == 1
        assert "not usable" in caplog.text


def test_an_interrupted_extraction_leaves_nothing_behind(tiny_model, rows, tmp_path):
    class Interrupted(ListSource):
        def rows(self):
            for number, row in enumerate(super().rows()):
                if number == 12:
                    raise KeyboardInterrupt
                yield row

    encoder = load_encoder(str(tiny_model))
    with pytest.raises(KeyboardInterrupt):
        extract(encoder, Interrupted(*rows), tmp_path, batch_size=4, progress=False)
    assert list(tmp_path.iterdir()) == []


def test_broken_images_are_left_out_counted_and_named(tiny_model, rows, tmp_path, caplog):
    images, labels = rows
    images[3], images[8], images[9] = b"", b"not an image", images[9][:50]
    for workers in (0, 2):
        features = extract(
            load_encoder(str(tiny_model)),
            ListSource(images, labels),
            tmp_path / str(workers),
            4,
            workers,
            progress=False,
        )
        assert [row_id for row_id, _ in features.skipped] == ["3", "8", "9"]
        assert features.rows.tolist() == [n for n in range(23) if n not in (3, 8, 9)]
        assert features.labels.tolist() == [labels[n] for n in features.rows]
    assert "image 8 skipped" in caplog.text and "3 images skipped" in caplog.text
    with pytest.raises(ValueError, match="not one of 2 images"):
        extract(load_encoder("pixels"), ListSource([b"", b"x"], [0, 1]), tmp_path / "none", progress=False)


def test_a_limit_draws_over_the_whole_split(tmp_path):
    images = [png(np.full((4, 4, 3), n, dtype=np.uint8)) for n in range(60)]
    source = ListSource(images, [n // 20 for n in range(60)])  # sorted by class, as image folders are
    features = extract(load_encoder("pixels"), source, tmp_path, max_images=30, progress=False)
    assert set(features.labels.tolist()) == {0, 1, 2}
    assert features.rows.tolist() == sorted(features.rows.tolist())
    other = extract(load_encoder("pixels"), source, tmp_path, max_images=30, seed=1, progress=False)
    assert features.rows.tolist() != other.rows.tolist()


def test_not_finite_features_stop_with_the_image_named(tiny_model, rows, tmp_path):
    encoder = load_encoder(str(tiny_model))
    with torch.no_grad():
        next(encoder.model.parameters()).fill_(float("nan"))
    encoder.weights_hash = "whatever"
    with pytest.raises(ValueError, match=r"not finite for 4 of 4.*the first one '0'"):
        extract(encoder, ListSource(*rows), tmp_path, batch_size=4, progress=False)


def test_an_encoder_that_learns_while_probed_is_caught(tiny_model, rows, tmp_path):
    encoder = load_encoder(str(tiny_model))
    inner = encoder.forward

    def creeping(images):
        for name, buffer in encoder.model.named_buffers():
            if "running_mean" in name:
                buffer += 1e-3
        return inner(images)

    encoder.forward = creeping
    with pytest.raises(RuntimeError, match="changed while it was probed"):
        extract(encoder, ListSource(*rows), tmp_path, progress=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("labels", "numbers", "names"),
    [
        (["cat", "ant", None, "cat"], [1, 0, -1, 1], ["ant", "cat"]),
        ([7, 2, None, 7], [7, 2, -1, 7], None),
        ([True, False, True, 1.0], [1, 0, 1, 1], None),
    ],
)
def test_labels_of_all_kinds(labels, numbers, names, tmp_path):
    features = extract(load_encoder("pixels"), ListSource(noisy_images(4, 0)[0], labels), tmp_path, progress=False)
    assert (features.labels.tolist(), features.label_names) == (numbers, names)


@pytest.mark.parametrize(
    ("labels", "message"), [([[1, 2], 0], "one class an image"), (["a", 1], "mixes text"), ([0.5, 1], "whole numbers")]
)
def test_labels_that_cannot_be_used(labels, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        extract(load_encoder("pixels"), ListSource(noisy_images(2, 0)[0], labels), tmp_path, progress=False)


def test_a_needle_of_an_image_costs_no_memory(tiny_model, tmp_path):
    needle = png(np.random.default_rng(0).integers(0, 256, (1, 3000, 3), dtype=np.uint8))
    features = extract(load_encoder(str(tiny_model)), ListSource([needle], [0]), tmp_path, progress=False)
    assert np.isfinite(features.features).all() and not features.skipped


SCRIPT = """
import sys
from accelerate import PartialState
from small_data import ListSource, noisy_images
from mscn_hf.evaluation.features import extract, load_encoder
images, labels = noisy_images(45, seed=0)
images[7] = b""
for n in range(16, 20): images[n] = b"a whole batch is broken"
process = PartialState(cpu=True)
source = ListSource(images, labels)
features = extract(load_encoder(sys.argv[1]), source, sys.argv[2], 4, process=process, progress=False)
assert len(features) == 40 and features.labels.tolist() == [labels[n] for n in features.rows], features.labels
assert process.num_processes == int(sys.argv[3])
"""


def test_two_processes_equal_one_to_the_bit(tiny_model, tmp_path):
    for count in (1, 2):
        run_script(SCRIPT, tmp_path, count, tiny_model, tmp_path / str(count), count)
    (one,), (two,) = ((tmp_path / str(count)).iterdir() for count in (1, 2))
    for name in ("features.f32", "labels.npy", "rows.npy"):
        assert (one / name).read_bytes() == (two / name).read_bytes()
    assert sorted(path.name for path in two.iterdir()) == ["features.f32", "labels.npy", "meta.json", "rows.npy"]
