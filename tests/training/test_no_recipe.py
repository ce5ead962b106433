# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Commands that need a recipe say so."""

import pytest

from mscn_hf.cli import main


@pytest.mark.parametrize("words", [["views"], ["views", "--images", "2"], ["pretrain", "--output_dir", "x"]])
def test_without_a_recipe(words, capsys):
    assert main(words) == 2
    said = capsys.readouterr().err
    assert f"mscn-hf {words[0]}: name a recipe: --config RECIPE" in said and "imagenette_mscn" in said


def test_a_recipe_without_views(tmp_path, capsys):
    (tmp_path / "r.yaml").write_text("seed: 1\n")
    assert main(["views", "--config", str(tmp_path / "r.yaml")]) == 2
    assert "r.yaml' has no views" in capsys.readouterr().err


def test_help_of_views_names_the_recipe(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["views", "--help"])
    printed = capsys.readouterr().out
    assert "--config RECIPE" in printed and "imagenette_mscn" in printed
