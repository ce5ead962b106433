# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
import pytest
import yaml
from datasets import ClassLabel, Dataset, Features, Image
from pretraining_runs import TINY_RECIPE, textured


@pytest.fixture(scope="session")
def photo_folder(tmp_path_factory):
    """90 training and 30 test images of three classes in Parquet, labels sorted."""
    folder = tmp_path_factory.mktemp("photos") / "data"
    folder.mkdir()
    features = Features({"image": Image(), "label": ClassLabel(names=list("abc"))})
    for split, rows, shards in (("train", 90, 3), ("test", 30, 1)):
        records = [
            {
                "image": {"bytes": textured(n + 1000 * (split == "test")), "path": f"{split}{n}.jpg"},
                "label": n * 3 // rows,
            }
            for n in range(rows)
        ]
        for shard in range(shards):
            part = Dataset.from_list(records[shard * rows // shards : (shard + 1) * rows // shards], features=features)
            part.to_parquet(str(folder / f"{split}-{shard:05d}-of-{shards:05d}.parquet"), batch_size=10)
    return str(folder.parent)


@pytest.fixture(scope="session")
def tiny_recipe(tmp_path_factory, photo_folder):
    path = tmp_path_factory.mktemp("recipes") / "tiny.yaml"
    path.write_text(yaml.safe_dump({**TINY_RECIPE, "dataset_name": photo_folder}))
    return str(path)
