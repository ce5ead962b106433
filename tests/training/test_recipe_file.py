# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Recipes and overrides become arguments; what nothing knows is an error that names the nearest known name."""

from pathlib import Path

import pytest
import torch
import yaml

from mscn_hf.methods import SiameseForPreTraining
from mscn_hf.methods.encoding import build_encoder
from mscn_hf.methods.objectives import OBJECTIVES, view_directions, view_pairs
from mscn_hf.resources import find_resource, list_resources
from mscn_hf.training.checks import check_run
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


def test_entries_of_a_mapping_on_the_command_line(tiny_recipe):
    run = parse_run(
        f'--config|{tiny_recipe}|--objective_params|{{"temperature": 0.5}}|--objective_params.negatives|7|'
        "--objective-params.rate|1e-3|--encoder_fields.depths|[1, 2]|--patch_drop.a|0.25|"
        "--predictor_of_view.b-c|1|--views.*.mask-p|0.125".split("|")
    )
    assert run.model.objective_params == {"temperature": 0.5, "negatives": 7, "rate": 0.001}
    assert run.model.encoder_fields["depths"] == [1, 2]
    assert run.model.encoder_fields["hidden_sizes"] == [8, 16]
    assert run.model.patch_drop == {"a": 0.25}
    assert run.model.predictor_of_view == {"b-c": 1}
    assert [view.mask_p for view in run.views.views.values()] == [0.125, 0.125]
    assert parse_run(["--config", tiny_recipe, "--encoder_fields", "none"]).model.encoder_fields is None


def test_a_given_document_stays_as_it_was(tiny_recipe):
    document = yaml.safe_load(Path(tiny_recipe).read_text())
    before = yaml.safe_dump(document)
    run = parse_run(["--views.a.mask_p", "0.375", "--encoder_fields.depths", "[2, 2]"], document)
    assert run.views.views["a"].mask_p == 0.375
    assert yaml.safe_dump(document) == before


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
        (["--views.c.mask_ratio", "0.2"], "there is no view 'c' on the command line; the recipe has a, b"),
        (["--views.a.mask_ratio", "1.5"], r"mask_ratio must lie in \[0, 1\), got 1.5"),
        (["--save_total_limit", "1"], "save_total_limit must be at least 2 or none, got 1"),
        (["--baselines", "chance"], r"baselines may name random, unfiltered and pixels, got \['chance'\]"),
        (["--max_broken_share", "2"], r"max_broken_share must lie in \[0, 1\], got 2.0"),
        (["--canvas_size", "0"], "canvas_size must be at least 1, got 0"),
        (["--per_device_train_batch_size", "0"], "per_device_train_batch_size must be at least 1, got 0"),
        (["--gradient_accumulation_steps", "0"], "gradient_accumulation_steps must be at least 1, got 0"),
        (["--num_train_epochs", "0"], "num_train_epochs must be positive, got 0"),
        (["--canvas_size", "none"], "field 'canvas_size' needs a value, got none"),
        (["--learning_rate", "0.1"], "learning_rate and base_learning_rate are both given"),
        (["--warmup_steps", "5"], "use warmup_epochs instead of warmup_steps"),
        (["--resume_from_checkpoint", "x"], "resume_from_checkpoint is not read here: use resume"),
        (["--config", "imagenet_simclr_resnet50"], "--config is given twice, .* a run has one recipe"),
        (
            ["--objective_params", "temperature=0.1"],
            "objective_params must be a JSON mapping .*, got 'temperature=0.1'",
        ),
        (["--patch_drop", "0.3"], 'patch_drop must be a JSON mapping such as {"key": 1}, got 0.3'),
        (["--patch_drop", "a", "0.3"], r"patch_drop must be a JSON mapping .*, got \['a', 0.3\]"),
        (["--objective_params.a.b", "1"], "'objective_params.a.b' on the command line is nested too deeply"),
        (["--objective_param.a", "1"], "unknown field 'objective_param.*did you mean 'objective_params'"),
        (["--views.a.mask_p", "[1"], "'\\[1' is neither JSON nor YAML"),
        (["stray"], "expected --field value, got 'stray'"),
    ],
)
def test_bad_values_are_named(tiny_recipe, words, message):
    with pytest.raises(ValueError, match=message):
        parse_run([*words, "--config", tiny_recipe] if words == ["stray"] else ["--config", tiny_recipe, *words])


def test_unknown_key_in_a_file_and_unknown_recipe(tmp_path, tiny_recipe):
    document = yaml.safe_load(Path(tiny_recipe).read_text())
    (tmp_path / "typo.yaml").write_text(yaml.safe_dump({**document, "dataset_nam": "x"}))
    with pytest.raises(ValueError, match=r"unknown field 'dataset_nam' in .*typo.yaml; did you mean 'dataset_name'"):
        parse_run(["--config", str(tmp_path / "typo.yaml")])
    (tmp_path / "broken.yaml").write_text("a: [1")
    with pytest.raises(ValueError, match=r"broken.yaml' is not YAML"):
        parse_run(["--config", str(tmp_path / "broken.yaml")])
    with pytest.raises(FileNotFoundError, match="nearest name is 'imagenette_simclr_cpu'"):
        parse_run(["--config", "imagenette_simclr_cpus"])


def network(run):
    """The network's config, and the numbers of its views."""
    encoder = run.model.encoder_config(run.views.image_mean, run.views.image_std)
    return run.model.siamese_config(encoder, run.views), range(len(run.views.expand()))


@pytest.mark.parametrize("name", list_resources("recipes"))
def test_every_recipe_that_ships_parses_and_says_what_it_is(name):
    run = parse_run(["--config", name, "--bf16", "False"])
    config, views = network(run)
    assert {spec.high_pass_sigma for spec in run.views.views.values()} == {run.model.high_pass_sigma}
    assert ("mscn" in run.model.method) == any(spec.mask_p > 0 for spec in run.views.views.values())
    assert run.training.output_dir.endswith(name)
    assert max(spec.size for spec in run.views.views.values()) <= run.data.canvas_size
    head = find_resource("recipes", name).read_text().split("\n\n")[0]
    assert f"--config training/recipes/{name}.yaml" in head
    assert "# Reproduces: " in head or "# Reference: " in head

    # Every view is compared with another one, and none is encoded in vain.
    objective = OBJECTIVES[config.objective]
    assert len(views) >= objective.fewest_views
    pairs = view_pairs(len(views), config.pairing, config.target_views)
    if objective.uses_target:
        online, target = config.online_views_of(len(views)), config.target_views_of(len(views))
        directions = view_directions(pairs, online, target)
        assert {i for i, _ in directions} == set(online)
        assert {j for _, j in directions} == set(target)
        assert set(online) | set(target) == set(views)
    elif len(views) > 1:
        assert {view for pair in pairs for view in pair} == set(views)
    assert objective.per_view or not run.training.memory_flat
    if run.data.test_split is None:
        assert run.training.monitor_epochs == 0, "online k-NN needs labels"


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in list_resources("recipes")
        # The deepest and widest differ from others in size alone; a supervised loss looks at labels, and meta tensors
        # hold none.
        if not name.endswith(("101", "152", "200", "x2", "x4", "295")) and "supervised" not in name
    ],
)
def test_network_of_a_recipe_takes_its_views(name):
    run = parse_run(["--config", name, "--bf16", "False"])
    with torch.device("meta"):
        model = SiameseForPreTraining(check_run(run)).train()
        views = [torch.empty(2, 3, spec.size, spec.size) for _, _, spec in run.views.expand()]
        output = model(views, keys=torch.zeros(2, dtype=torch.int64))
    assert output.loss.shape == ()
    assert model.published_encoder.config.model_type == run.model.model_type


PARAMETERS = {
    "imagenet_relicv2_resnet50": 23.51,
    "imagenet_relicv2_resnet50x2": 93.91,
    "imagenet_relicv2_resnet50x4": 375.38,
    "imagenet_relicv2_resnet101": 42.50,
    "imagenet_relicv2_resnet152": 58.14,
    "imagenet_relicv2_resnet200": 62.62,
    "imagenet_relicv2_resnet200x2": 250.13,
    "imagenet_relicv2_resnet295": 86.66,
    "imagenet_msn_vits16": 21.67,
    "imagenet_msn_vitb16": 85.80,
    "imagenet_mscn_simclr_convnext_tiny": 27.82,
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_encoders_have_the_size_they_are_named_after(name):
    config, _ = network(parse_run(["--config", name, "--bf16", "False"]))
    with torch.device("meta"):
        encoder = build_encoder(config.encoder)
    assert sum(p.numel() for p in encoder.parameters()) / 1e6 == pytest.approx(PARAMETERS[name], abs=0.01)


def test_resnet_295_has_295_layers():
    config, _ = network(parse_run(["--config", "imagenet_relicv2_resnet295", "--bf16", "False"]))
    assert 3 * sum(config.encoder["depths"]) + 1 == 295


# Of the paper's table 16: blur and solarisation of odd and even views, the least areas of large ones.
TABLE_16 = {"odd": (0.1, 0.2, 0.14), "even": (1.0, 0.0, 0.08)}


@pytest.mark.parametrize("name", [n for n in list_resources("recipes") if "imagenet_relicv2" in n or "webscale" in n])
def test_relicv2_recipes_against_the_paper(name):
    run = parse_run(["--config", name, "--bf16", "False"])
    assert [view for view, _, _ in run.views.expand()] == [
        *["large_odd"] * 2, *["large_even"] * 2, "small_odd", "small_even",
    ]  # fmt: skip
    config, _ = network(run)
    assert config.target_views == [0, 1, 2, 3]
    for view, spec in run.views.views.items():
        size, parity = view.split("_")
        blur, solarize, least = TABLE_16[parity]
        assert (spec.blur_p, spec.solarize_p, spec.grayscale_p, spec.jitter_p) == (blur, solarize, 0.2, 0.8)
        assert (spec.brightness, spec.contrast, spec.saturation, spec.hue) == (0.4, 0.4, 0.2, 0.1)
        expected = (224, (least, 1.0)) if size == "large" else (96, (0.05, 0.14))
        assert (spec.size, spec.crop_scale) == expected
        share = 0.15 if name.startswith("webscale") else 0.1
        assert spec.background_p == (share if size == "large" else 0.0)
    assert run.views.mask_column == "saliency"
    assert run.training.num_train_epochs == 1000
    words = "--bf16 False --mask_source none --views.large_odd.background_p 0 --views.large_even.background_p 0"
    unmasked = parse_run(["--config", name, *words.split()])
    assert unmasked.views.mask_column is None


def test_msn_against_the_authors_configuration():
    run = parse_run(["--config", "imagenet_msn_vits16", "--bf16", "False"])
    args = run.training
    assert args.base_learning_rate * 1024 / 256 == pytest.approx(1e-3)
    assert args.base_learning_rate * 4 * args.lr_start_ratio == pytest.approx(2e-4)
    assert args.base_learning_rate * 4 * args.lr_end_ratio == pytest.approx(1e-6)
    assert (args.weight_decay, args.weight_decay_end, args.max_grad_norm) == (0.04, 0.4, 3.0)
    assert (args.warmup_epochs, args.num_train_epochs, args.schedule_stretch) == (15, 800, 1.25)
    assert (args.ema_schedule, run.model.ema, run.model.publish) == ("linear", 0.996, "target")
    config, views = network(run)
    assert len(views) == 12
    assert config.target_views == [0]
    assert config.online_views == list(range(1, 12))
    assert config.patch_drop == [0.0, 0.15, *[0.0] * 10]
    assert run.model.encoder_fields["layer_norm_eps"] == 1e-6


# The MSCN paper, section 5 and appendix A.1, and SimCLR's and BYOL's constants where it follows them.
PAPER = {
    "imagenet_simclr_resnet50": (800, 4.8, 1e-6, [2048, 256], True, None),
    "imagenet_mscn_simclr_resnet50": (800, 4.8, 1e-6, [2048, 256], True, None),
    "imagenet_byol_resnet50": (1000, 3.2, 1.5e-6, [4096, 256], False, [4096, 256]),
    "imagenet_mscn_byol_resnet50": (1000, 3.2, 1.5e-6, [4096, 256], False, [4096, 256]),
    "imagenet_mscn_byol_predictors_resnet50": (1000, 3.2, 1.5e-6, [4096, 256], False, [4096, 256]),
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


def test_mscn_views_are_the_same_with_every_loss():
    views = parse_run(["--config", "imagenet_mscn_simclr_resnet50", "--bf16", "False"]).views
    for name in list_resources("recipes"):
        if name.startswith("imagenet_mscn_"):
            assert parse_run(["--config", name, "--bf16", "False"]).views == views, name


@pytest.mark.parametrize("loss", ["vicreg", "barlow_twins"])
def test_losses_without_negatives_against_their_authors_code(loss):
    for name in (f"imagenet_{loss}_resnet50", f"imagenet_mscn_{loss}_resnet50"):
        run = parse_run(["--config", name, "--bf16", "False"])
        args = run.training
        assert (args.optimizer, args.base_learning_rate, args.lr_end_ratio) == ("lars", 0.2, 0.001)
        assert (args.weight_decay, args.warmup_epochs, args.num_train_epochs) == (1e-6, 10, 1000)
        assert args.per_device_train_batch_size * 16 == 2048
        assert (run.model.projector, run.model.projector_last_bn) == ([8192] * 3, False)
        config, _ = network(run)
        assert (config.objective, config.predictor, config.ema) == (loss, None, None)
    a, b = parse_run(["--config", f"imagenet_{loss}_resnet50", "--bf16", "False"]).views.views.values()
    assert (a.blur_p, a.solarize_p, b.blur_p, b.solarize_p) == (1.0, 0.0, 0.1, 0.2)
