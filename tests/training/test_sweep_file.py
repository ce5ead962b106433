# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Sweep files become recipes; those that ship resolve to valid runs, no two alike."""

import dataclasses
import itertools
import json
import re

import pytest
import yaml

from mscn_hf.cli import main
from mscn_hf.resources import find_resource, list_resources
from mscn_hf.training.sweep import prepare_run
from mscn_hf.training.sweep_file import apply_changes, read_sweep
from mscn_hf.views.recipe import ViewRecipe

FORMS = [(name, small) for name in list_resources("sweeps") for small in (False, True)]


@pytest.mark.parametrize(("name", "small"), FORMS)
def test_every_run_of_a_sweep_that_ships_is_valid_and_unlike_the_others(tmp_path, name, small):
    sweep = read_sweep(name, small)
    seen = {}
    for run in sweep.runs.values():
        words, config = prepare_run(sweep, run, tmp_path)
        assert words[:2] == ["--config", str(tmp_path / f"{run.name}.yaml")]
        settings = {key: value for key, value in config.document.items() if key != "output_dir"}
        text = json.dumps(settings, sort_keys=True)
        assert text not in seen, f"{run.name} is {seen[text]} again"
        seen[text] = run.name
        assert {spec.high_pass_sigma for spec in config.views.views.values()} == {config.model.high_pass_sigma}
        if small:
            assert max(spec.size for spec in config.views.views.values()) <= 64
            assert config.views.mask_column is None, "a small form needs no masks in the data"
    assert len(seen) > 1


@pytest.mark.parametrize("name", list_resources("sweeps"))
def test_a_sweep_that_ships_says_what_it_is_and_how_to_run_it(name):
    text = find_resource("sweeps", name).read_text()
    recipe = find_resource("recipes", yaml.safe_load(text)["recipe"]).read_text()
    processes = re.search(r"accelerate launch --num_processes (\d+) ", recipe).group(1)
    assert f"# Command: accelerate launch --num_processes {processes} -m mscn_hf.cli sweep {name} " in text
    assert f"# On two CPU cores: mscn-hf sweep {name} --small " in text
    sweep = read_sweep(name)
    assert sweep.paper in ("Masked Siamese ConvNets (Jing et al. 2022)", "ReLICv2 (Tomasev et al. 2022)")
    scores = [run.paper for run in sweep.runs.values()]
    missing = any(word in sweep.table for word in ("numbers not known", "no numbers"))
    assert missing == all(score is None for score in scores)


def meaning(document):
    """The document with all fields of its views written out."""
    of_views = {key: document[key] for key in document if key in {f.name for f in dataclasses.fields(ViewRecipe)}}
    return {**document, **ViewRecipe.from_dict(of_views).to_dict()}


def document(sweep, run):
    return meaning(read_sweep(sweep).runs[run].document)


def recipe(name):
    return meaning(yaml.safe_load(find_resource("recipes", name).read_text()))


def test_rows_that_several_tables_share_are_one_run():
    default = document("mscn_grid_size", "cell_32")
    for sweep, run in (
        ("mscn_focal", "focal_p_0.2"),
        ("mscn_sigma", "sigma_5"),
        ("mscn_channelwise", "channel_p_0.7"),
    ):
        assert document(sweep, run) == default
    assert document("mscn_mask_ratio", "ratio_0.25") == default
    assert document("mscn_trajectory", "multimasks") == default
    assert {key for key in default if default[key] != recipe("imagenet_mscn_simclr_resnet50")[key]} == {
        "num_train_epochs",
        "views",
    }
    default = document("relicv2_mask_probability", "p0.10")
    for sweep, run in (
        ("relicv2_negatives", "negatives_10"),
        ("relicv2_ema", "ema_0.993"),
        ("relicv2_mask_source", "saliency"),
    ):
        assert document(sweep, run) == default


def test_runs_that_are_the_recipe_itself():
    whole = recipe("imagenet_relicv2_resnet50")
    assert document("relicv2_mask_probability", "epochs1000_p0.10") == whole
    assert document("relicv2_small_crops", "rrc")["views"]["small_even"] == whole["views"]["small_even"]
    assert document("byol_mask_probability", "p0.10") == recipe("imagenet_byol_saliency_resnet50")
    simclr = recipe("imagenet_simclr_saliency_resnet50")
    assert document("simclr_saliency_views", "four_large_two_small_masked") == simclr
    assert document("relicv2_invariance", "simclr") == simclr
    unmasked = document("relicv2_views", "large4_small2")
    differ = {key for key in whole if unmasked.get(key) != whole[key]}
    assert differ - {"mask_change", "mask_area", "foreground_threshold"} == {"views", "mask_source"}
    for name, view in whole["views"].items():
        assert unmasked["views"][name] == {**view, "background_p": 0.0}


def test_the_trajectory_adds_one_thing_at_a_time():
    steps = [run.changes for run in read_sweep("mscn_trajectory").runs.values()][:10]
    added = [{k for k in after if after[k] != before.get(k)} for before, after in itertools.pairwise(steps)]
    assert added == [
        {"high_pass_sigma", "views.*.high_pass_sigma"},
        {"views.*.focal_p"},
        {"views.b.augment_as", "views.*.flip_p"},
        {"views.a.noise_std", "views.b.noise_std"},
        {"views.*.channel_p"},
        {"views.*.jitter_p", "views.*.grayscale_p"},
        {"views.*.blur_p"},
        {"views.b.mask_p"},
        {"views.b.count"},
    ]


DOCUMENT = {
    "objective_params": {"temperature": 0.1},
    "views": {"a": {"size": 24, "mask_p": 0.5}, "b": {"size": 24}, "c": None},
}


def test_what_is_more_special_wins_and_the_recipe_stays_as_it_was():
    before = json.dumps(DOCUMENT)
    changed = apply_changes(
        DOCUMENT,
        {
            "views.b.mask_p": 0.1,
            "views.*.mask_p": 0.2,
            "views.d": {"size": 12},
            "views.c": None,
            "objective_params.negatives": 5,
            "seed": 7,
        },
        "here",
    )
    assert changed["views"] == {
        "a": {"size": 24, "mask_p": 0.2},
        "b": {"size": 24, "mask_p": 0.1},
        "d": {"size": 12, "mask_p": 0.2},
    }
    assert changed["objective_params"] == {"temperature": 0.1, "negatives": 5}
    assert changed["seed"] == 7
    assert json.dumps(DOCUMENT) == before
    assert apply_changes(DOCUMENT, {"views": {"x": {"size": 8}}, "views.x.mask_p": 0.3}, "here")["views"] == {
        "x": {"size": 8, "mask_p": 0.3}
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_train_epoch": 1}, "run 'one': unknown field 'num_train_epoch'; did you mean 'num_train_epochs'"),
        ({"views.a.mask_ration": 0.1}, "unknown field 'mask_ration' of view 'a'; did you mean 'mask_ratio'"),
        ({"views.e.mask_p": 0.1}, "there is no view 'e'; the recipe has a, b, c"),
        ({"views.e": None}, "there is no view 'e'"),
        ({"seed.b": 1}, "'seed' is no mapping"),
        ({True: 1}, "run 'one': a field's name must be text, got True"),
        ({1: 1, "seed": 2}, "a field's name must be text, got 1"),
        ({"patch_drop": 0.3}, "patch_drop must be a JSON mapping"),
        ({"objective_params.a.b": 1}, "'objective_params.a.b' is nested too deeply"),
        ({"views.a.size.b": 1}, "'views.a.size.b' is nested too deeply"),
    ],
)
def test_a_change_that_fits_nothing_is_named(changes, message):
    with pytest.raises(ValueError, match=message):
        apply_changes(DOCUMENT, changes, "sweep 's', run 'one'")


@pytest.mark.parametrize(
    ("views", "message"),
    [(None, "views must map names to their settings, got None"), ({"a": 3}, "view 'a' must be a mapping .*, got 3")],
)
def test_views_that_are_no_mapping(views, message):
    with pytest.raises(ValueError, match=f"sweep 's': {message}"):
        apply_changes({"views": views}, {"views.a.mask_p": 0.1}, "sweep 's'")


def write_sweep(folder, **content):
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(content))
    return str(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"recipe": "RECIPE"}, "sweep 'mine' has no runs"),
        ({"recipe": "RECIPE", "runs": [1]}, "sweep 'mine', runs must be a mapping, got"),
        ({"recipe": "RECIPE", "run": {}}, "sweep 'mine': unknown key 'run'; did you mean 'runs'"),
        ({"runs": {"a": {}}}, "run 'a': recipe must be a path or the name of a recipe, got None"),
        ({"recipe": "RECIPE", "runs": {"a": {"sets": {}}}}, "run 'a': unknown key 'sets'; did you mean 'set'"),
        ({"recipe": "RECIPE", "runs": {"a": {"set": 3}}}, "run 'a', set must be a mapping, got 3"),
        ({"recipe": "RECIPE", "runs": {"a": {"paper": 750}}}, "paper must be a score in percent, got 750"),
        ({"recipe": "RECIPE", "runs": {"../a": {}}}, "run '../a': the name is that of a folder"),
        ({"recipe": "RECIPE", "runs": {"a": {"set": {"views.z.size": 8}}}}, "run 'a': there is no view 'z'"),
    ],
)
def test_a_bad_sweep_is_refused(tmp_path, tiny_recipe, content, message):
    content = {key: tiny_recipe if value == "RECIPE" else value for key, value in content.items()}
    with pytest.raises(ValueError, match=message):
        read_sweep(write_sweep(tmp_path, **content))


def test_files_that_are_no_sweeps(tmp_path, tiny_recipe, capsys):
    (tmp_path / "list.yaml").write_text("[1, 2]")
    with pytest.raises(ValueError, match=r"sweep 'list' must be a mapping, got \[1, 2\]"):
        read_sweep(str(tmp_path / "list.yaml"))
    (tmp_path / "broken.yaml").write_text("a: [1")
    with pytest.raises(ValueError, match=r"broken.yaml' is not YAML"):
        read_sweep(str(tmp_path / "broken.yaml"))
    with pytest.raises(ValueError, match="'mine' has no small form"):
        read_sweep(write_sweep(tmp_path, recipe=tiny_recipe, runs={"a": {}}), small=True)
    with pytest.raises(FileNotFoundError, match="nearest name is 'mscn_sigma'"):
        read_sweep("mscn_sigmas")


def test_the_small_form_takes_its_own_runs_or_those_above(tmp_path, tiny_recipe):
    runs = {"a": {"set": {"seed": 1}, "paper": 50.5}, "b": {"set": {"seed": 2}, "recipe": "imagenet_simclr_resnet50"}}
    both = read_sweep(write_sweep(tmp_path, recipe="none_such", runs=runs, small={"recipe": tiny_recipe}), small=True)
    assert [run.document["seed"] for run in both.runs.values()] == [1, 2]
    assert {run.document["method"] for run in both.runs.values()} == {"mscn_byol"}
    assert [run.paper for run in both.runs.values()] == [50.5, None]
    small = {"recipe": tiny_recipe, "set": {"seed": 5}, "runs": {"a": {"set": {"canvas_size": 48}}}}
    own = read_sweep(write_sweep(tmp_path, recipe="none_such", runs=runs, small=small), small=True)
    assert list(own.runs) == ["a"]
    assert (own.runs["a"].document["seed"], own.runs["a"].document["canvas_size"]) == (5, 48)
    assert own.runs["a"].paper == 50.5


def test_list_shows_the_runs_and_trains_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["sweep", "mscn_mask_ratio", "--list", "--runs", "ratio_0.90", "ratio_0.15"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Masked Siamese ConvNets (Jing et al. 2022), table 5, mask ratio"
    assert [line.split()[:2] for line in lines[1:]] == [["ratio_0.15", "67.6"], ["ratio_0.90", "62.6"]]
    assert "views.*.mask_ratio=0.9" in lines[2]
    assert list(tmp_path.iterdir()) == []
    assert main(["sweep", "mscn_mask_ratio", "--list", "--runs", "ratio_0.16"]) == 2
    assert "has no run 'ratio_0.16'; did you mean 'ratio_0.15'?" in capsys.readouterr().err
