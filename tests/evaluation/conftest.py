# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
import os

import pytest
from small_data import noisy_images, save_tiny_resnet, write_parquet


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory):
    """A dataset folder with train (90 images, one of them broken) and test (60), three classes."""
    folder = tmp_path_factory.mktemp("colours")
    images, labels = noisy_images(90, seed=1)
    images[17] = images[17][:60]
    write_parquet(folder / "data" / "train-00000-of-00001.parquet", images, labels)
    images, labels = noisy_images(60, seed=2)
    write_parquet(folder / "data" / "test-00000-of-00001.parquet", images, labels)
    return folder


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    return save_tiny_resnet(tmp_path_factory.mktemp("tiny_resnet"), seed=11)


@pytest.fixture(scope="session")
def imagenette_pixels(tmp_path_factory):
    """Pixel features and labels of Imagenette, train and test."""
    if "MSCN_HF_DATA" not in os.environ:
        pytest.skip("MSCN_HF_DATA is not set: no real images here")
    from mscn_hf.data.source import open_source
    from mscn_hf.evaluation.features import extract, load_encoder

    dataset = os.path.join(os.environ["MSCN_HF_DATA"], "imagenette-96")
    cache = tmp_path_factory.mktemp("cache")
    encoder = load_encoder("pixels")
    return [extract(encoder, open_source(dataset, split=s), cache, 256, progress=False) for s in ("train", "test")]
