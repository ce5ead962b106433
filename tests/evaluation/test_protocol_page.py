# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from mscn_hf.evaluation import protocol_page
from mscn_hf.evaluation.protocols import load_protocol
from mscn_hf.resources import list_resources

PAGE = Path(__file__).parents[2] / "docs" / "protocols.md"


def test_the_page_is_what_the_files_say():
    assert PAGE.read_text(encoding="utf-8") == protocol_page.protocol_page(), f"run: {protocol_page._MARK}"


def test_what_was_not_verified_says_so():
    (line,) = (
        line
        for line in protocol_page.protocol_page().splitlines()
        if line.startswith("| MSN ViT-L/7") and "57.1" in line
    )
    assert line == "| MSN ViT-L/7 | imagenet-1k | top-1 | 57.1 | MSN, low-shot; not verified against the paper |"


@pytest.mark.parametrize("name", list_resources("protocols"))
def test_every_protocol_says_what_it_is_and_loads(name):
    head = protocol_page.read_head(name)
    assert len(head.text) > 80 and f"mscn-hf evaluate {name}" in head.labelled["Command"]
    assert load_protocol(name)[0] == name


def test_a_head_that_says_nothing(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("# Copyright\n# Something.\n# Time: long,\n#   very.\nkind: knn\n")
    with pytest.raises(ValueError, match=r"lacks \['Expect', 'Command'\]"):
        protocol_page.read_head(str(path))
