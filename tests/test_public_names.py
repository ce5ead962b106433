# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""What `import mscn_hf` promises, and what the package carries along."""

import subprocess
import sys

import pytest

import mscn_hf
from mscn_hf.resources import find_resource, list_resources


@pytest.mark.parametrize("name", mscn_hf.__all__)
def test_every_public_name_is_there_and_documented(name):
    assert getattr(mscn_hf, name).__doc__


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'MSCNModle'"):
        _ = mscn_hf.MSCNModle


def test_loading_a_model_needs_neither_datasets_nor_timm():
    code = "import sys, mscn_hf; print(sorted({'datasets', 'sklearn', 'skimage', 'evaluate'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_documents_are_found_by_name_and_the_nearest_is_named():
    assert find_resource("recipes", "imagenet_mscn_simclr_resnet50").name == "imagenet_mscn_simclr_resnet50.yaml"
    assert {"knn", "linear"} <= set(list_resources("protocols"))
    assert find_resource("cards", "template.md").is_file()
    with pytest.raises(FileNotFoundError, match="nearest name is 'knn'"):
        find_resource("protocols", "kn")
    with pytest.raises(FileNotFoundError):
        find_resource("recipes", "../../pyproject.toml.yaml")
