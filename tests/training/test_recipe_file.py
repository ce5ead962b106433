# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Recipes and overrides become arguments; what nothing knows is an error that names the nearest known name."""

from pathlib import Path

import pytest
import yaml

from mscn_hf.resources import find_resource, list_resources
from mscn_hf.training.recipe_file import parse_run


def test_command_line_wins_and_types_are_right(tiny_recipe):
    run = parse_run(
        f"--config {tiny_recipe} --views.b.mask_p 0.25 --num_train_epochs=7 --projector 32 16 "
        "--views.a.crop_scale 0.5 0.9 --predictor 32 16 --objective_params {}".split()
    )
    assert run.views.views["b"].mask_p == 0.25
    assert run.views.views["a"].crop_scale == (0.5, 0.9)
    assert run.training.num_train_epochs == 7
    assert run.model.projector == [32, 16]
    assert run.training.weight_decay == 1e-4
    assert run.model.encoder_fields["hidden_sizes"] == [8, 16]


def test_resolved_document_repeats_the_run(tiny_recipe, tmp_path):
    run = parse_run(["--config", tiny_recipe, "--views.a.noise_std", "0.4", "--momentum", "0.8"])
    run.write(tmp_path / "again.yaml")
    again = parse_run(["--config", str(tmp_path / "again.yaml")])
    assert again.document == run.document
    assert again.views == run.views
    assert again.training.momentum == 0.8


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--base_learning_rat", "1"],
            "unknown field 'base_learning_rat' on the command line; .* 'base_learning_rate'",
        ),
        (["--views.a.mask_ration", "0.2"], "unknown field 'mask_ration' of view 'a' .* 'mask_ratio'"),
        (["--views.c.mask_ratio", "0.2"], r"there is no view 'c' .* \['a', 'b'\]"),
        (["--views.a.mask_ratio", "1.5"], r"mask_ratio must lie in \[0, 1\), got 1.5"),
        (["--save_total_limit", "1"], "save_total_limit must be at least 2 or none, got 1"),
        (["--baselines", "chance"], r"baselines may name random and pixels, got \['chance'\]"),
        (["--max_broken_share", "2"], r"max_broken_share must lie in \[0, 1\], got 2.0"),
        (["--canvas_size", "0"], "canvas_size must be at least 1, got 0"),
        (["--per_device_train_batch_size", "0"], "per_device_train_batch_size must be at least 1, got 0"),
        (["--gradient_accumulation_steps", "0"], "gradient_accumulation_steps must be at least 1, got 0"),
        (["--num_train_epochs", "0"], "num_train_epochs must be positive, got 0"),
        (["--canvas_size", "none"], "field 'canvas_size' needs a value, got none"),
        (["--learning_rate", "0.1"], "learning_rate and base_learning_rate are both given"),
        (["--warmup_steps", "5"], "use warmup_epochs instead of warmup_steps"),
        (["--resume_from_checkpoint", "x"], "resume_from_checkpoint is not read here: use resume"),
        (["stray"], "expected --field value, got 'stray'"),
    ],
)
def test_bad_values_are_named(tiny_recipe, words, message):
    with pytest.raises(ValueError, match=message):
        parse_run([*words, "--config", tiny_recipe] if words == ["stray"] else ["--config", tiny_recipe, *words])


def test_unknown_key_in_a_file_and_unknown_recipe(tmp_path, tiny_recipe):
    document = yaml.safe_load(Path(tiny_recipe).read_text())
    (tmp_path / "typo.yaml").write_text(yaml.safe_dump({**document, "dataset_nam": "x"}))
    with pytest.raises(
        ValueError, match=r"unknown field 'dataset_nam' in .*typo.yaml; the nearest known field is 'dataset_name'"
    ):
        parse_run(["--config", str(tmp_path / "typo.yaml")])
    (tmp_path / "broken.yaml").write_text("a: [1")
    with pytest.raises(ValueError, match=r"broken.yaml' is not YAML"):
        parse_run(["--config", str(tmp_path / "broken.yaml")])
    with pytest.raises(FileNotFoundError, match="nearest name is 'imagenette_simclr_cpu'"):
        parse_run(["--config", "imagenette_simclr_cpus"])


@pytest.mark.parametrize("name", list_resources("recipes"))
def test_every_recipe_that_ships_parses_and_says_what_it_is(name):
    run = parse_run(["--config", name, "--bf16", "False"])
    encoder = run.model.encoder_config(run.views.image_mean, run.views.image_std)
    assert run.model.siamese_config(encoder).objective in ("info_nce", "byol")
    assert {spec.high_pass_sigma for spec in run.views.views.values()} == {run.model.high_pass_sigma}
    assert ("mscn" in run.model.method) == any(spec.mask_p > 0 for spec in run.views.views.values())
    assert run.training.output_dir.endswith(name)
    head = find_resource("recipes", name).read_text().split("\n\n")[0]
    assert f"--config training/recipes/{name}.yaml" in head


# The MSCN paper, section 5 and appendix A.1, and SimCLR's and BYOL's constants where it follows them.
PAPER = {
    "imagenet_simclr_resnet50": (800, 4.8, 1e-6, [2048, 256], True, None),
    "imagenet_mscn_simclr_resnet50": (800, 4.8, 1e-6, [2048, 256], True, None),
    "imagenet_byol_resnet50": (1000, 3.2, 1.5e-6, [4096, 256], False, [4096, 256]),
    "imagenet_mscn_byol_resnet50": (1000, 3.2, 1.5e-6, [4096, 256], False, [4096, 256]),
}


@pytest.mark.parametrize("name", PAPER)
def test_imagenet_recipes_against_the_table(name):
    epochs, rate, decay, projector, last_bn, predictor = PAPER[name]
    run = parse_run(["--config", name, "--bf16", "False"])
    assert run.training.num_train_epochs == epochs
    assert run.training.base_learning_rate * 4096 / 256 == pytest.approx(rate)
    assert run.training.per_device_train_batch_size * 32 == 4096
    assert run.training.weight_decay == decay
    assert run.training.warmup_epochs == 10
    assert (run.model.projector, run.model.projector_last_bn, run.model.predictor) == (projector, last_bn, predictor)
    assert run.model.depth == 50
    if "mscn" in name:
        for spec in run.views.views.values():
            assert (spec.size, spec.high_pass_sigma, spec.mask_ratio, spec.mask_cell) == (224, 5.0, 0.15, 32)
            assert (spec.focal_p, spec.channel_p) == (0.2, 0.7)
        assert [name for name, _, _ in run.views.expand()] == ["a", "b", "b"]
