# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from datasets import ClassLabel, Dataset, Features, Image
from tiny_images import encoded


@pytest.fixture
def parquet_folder(tmp_path):
    """Makes a folder of Parquet shards: label-sorted rows 0..n-1, row groups of a given size."""

    def make(rows: int, shards: int = 1, group: int = 10, name: str = "set", broken: tuple[int, ...] = ()):
        folder = tmp_path / name / "data"
        folder.mkdir(parents=True)
        labels = np.arange(rows) * 4 // rows
        features = Features({"image": Image(), "label": ClassLabel(names=list("abcd"))})
        records = [
            {
                "image": {"bytes": b"no image" if n in broken else encoded(n, "PNG"), "path": f"{n}.png"},
                "label": int(k),
            }
            for n, k in enumerate(labels)
        ]
        for shard in range(shards):
            part = records[shard * rows // shards : (shard + 1) * rows // shards]
            Dataset.from_list(part, features=features).to_parquet(
                str(folder / f"train-{shard:05d}-of-{shards:05d}.parquet"), batch_size=group
            )
        return str(tmp_path / name)

    return make
