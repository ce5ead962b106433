# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
import dataclasses
import json

import pytest
import yaml
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import model_index_to_eval_results
from somebodys_run import HOME_OF_SOMEBODY, result_of

from mscn_hf.evaluation.results import Result, append_results, read_results
from mscn_hf.hub import UnfitFolderError, write_card
from mscn_hf.hub.card_parts import MARKER, hub_dataset
from mscn_hf.hub.results_yaml import eval_entry, eval_results_files, read_eval_results

HOSTILE = (
    '", x: [1]\n---\n# Injected heading\n\n<img src=x onerror=alert(1)> | [a](http://evil.org) `{{ 7 * 7 }}` ```\n- a'
)


def card_of(run, **options):
    return ModelCard.load(write_card(run, check_usage=False, **options))


def test_card_says_what_was_measured_and_nothing_else(tiny_run, tiny_hash):
    card = card_of(tiny_run, license="apache-2.0")

    assert card.data.library_name == "transformers"
    assert card.data.pipeline_tag == "image-feature-extraction"
    assert card.data.license == "apache-2.0"
    assert card.data.tags == ["mscn", "simclr", "self-supervised-learning", "vision"]
    assert card.data.metrics == ["accuracy"]
    assert card.data.get("datasets") is None, "a local folder is not a dataset of the Hub"
    assert card.data.get("base_model") is None, "leaderboards leave out models with a base_model"
    name, entries = model_index_to_eval_results(card.data.to_dict()["model-index"])
    assert name == "imagenette-mscn"
    own = [result for result in read_results(tiny_run / "results.jsonl") if result.model_revision == tiny_hash]
    assert [(e.metric_value, e.metric_name, e.dataset_name, e.dataset_split) for e in entries] == [
        (result.value, f"knn: {result.metric}", "imagenette-96", "test") for result in own
    ]
    assert entries[0].metric_args["interval"] == [0.565, 0.5975]
    assert entries[0].metric_args["selection"] == own[0].selection
    for said in ("**0.5813** | 0.5650 to 0.5975 | 3925 | 0", "| pixels (abababab) | imagenette-96 | test | knn |"):
        assert said in card.text
    assert "2206.07700" in card.text and "2002.05709" in card.text and "2006.07733" not in card.text
    assert "![" in card.text and "(views.png)" in card.text and (tiny_run / "encoder" / "views.png").is_file()
    assert "0.1230" not in card.text, "another model on another data set is no comparison"


def test_nothing_of_the_machine_is_told(tiny_run, tiny_hash):
    told = {"selection": "by /home/jane/x", "protocol": f"{HOME_OF_SOMEBODY}/knn.yaml"}
    extra = result_of(
        tiny_hash, **told, benchmark_id="org/bench", task_id="a", settings={"cache": f"{HOME_OF_SOMEBODY}/c"}
    )
    append_results(tiny_run / "results.jsonl", [extra])
    text = write_card(tiny_run, check_usage=False).read_text() + str(eval_results_files([extra]))
    for leak in ("jane", "private work", "/home", "~/", str(tiny_run.parent), HOME_OF_SOMEBODY):
        assert leak not in text, leak
    assert "mscn-hf pretrain --dataset_name imagenette-96 --output_dir a" in text


def test_hostile_names_stay_text(tiny_run, tiny_hash):
    training = json.loads((tiny_run / "encoder" / "training.json").read_text())
    training["dataset"] = {"name": HOSTILE, "split": HOSTILE, "revision": HOSTILE}
    training["recipe"] = {HOSTILE: HOSTILE}
    training["method"] = training["command"] = HOSTILE
    (tiny_run / "encoder" / "training.json").write_text(json.dumps(training))
    texts = {"dataset": HOSTILE, "split": HOSTILE, "selection": HOSTILE, "protocol": HOSTILE, "metric": HOSTILE}
    hostile = result_of(
        tiny_hash, **texts, dataset_config=HOSTILE, dataset_revision=HOSTILE, settings={HOSTILE: HOSTILE}
    )
    plain = card_of(tiny_run, results=[])
    card = card_of(tiny_run, results=[hostile, dataclasses.replace(hostile, model=HOSTILE, model_revision="00" * 32)])

    headings = [line for line in outside_fences(card.text) if line.startswith("#")]
    assert headings == [line for line in outside_fences(plain.text) if line.startswith("#")]
    assert not any("<img" in line or "](http://evil" in line for line in outside_fences(card.text))
    assert "49" not in card.text.replace("9469", "").replace("94690", ""), "a template was evaluated twice"
    assert set(card.data.to_dict()) == {
        *("library_name", "pipeline_tag", "tags", "metrics", "model-index"),
    }  # no key more
    [entry] = model_index_to_eval_results(card.data.to_dict()["model-index"])[1]
    assert (entry.dataset_split, entry.dataset_config, entry.metric_value) == (HOSTILE, HOSTILE, 0.58125)


def outside_fences(text):
    """Lines of Markdown that are not in code blocks."""
    fence = None
    for line in text.split("\n"):
        ticks = len(line) - len(line.lstrip("`"))
        if fence is None and ticks >= 3:
            fence = ticks
        elif fence is not None and ticks >= fence and not line.strip("`"):
            fence = None
        elif fence is None:
            yield line


def test_scores_of_other_weights_are_not_claimed(tiny_run, tiny_hash, caplog):
    card = card_of(tiny_run, results=[result_of("ef" * 32), result_of(None)])
    assert card.data.get("eval_results") is None
    assert "0.58" not in card.text
    assert "No score of these weights has been recorded" in card.text
    assert "none of the 2 results" in caplog.text


def test_the_later_of_two_equal_measurements_counts(tiny_run, tiny_hash):
    first, again = result_of(tiny_hash, value=0.25, interval=None), result_of(tiny_hash, value=0.75, interval=None)
    other = result_of(tiny_hash, value=0.5, interval=None, settings={"k": 200})
    card = card_of(tiny_run, results=[first, other, again])
    assert [entry.metric_value for entry in card.data.eval_results] == [0.75, 0.5]


def test_card_without_results_and_training_record(tiny_run):
    (tiny_run / "results.jsonl").unlink()
    (tiny_run / "encoder" / "training.json").unlink()
    card = card_of(tiny_run / "encoder")
    assert "No score of these weights" in card.text
    assert "no record of how the weights were trained" in card.text
    assert "model-index" not in card.data.to_dict()
    assert "This example was not run" in card.text


def with_training(run, **fields):
    path = run / "encoder" / "training.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_only_what_was_trained_without_labels_is_called_self_supervised(tiny_run):
    with_training(tiny_run, recipe={"objective": "info_nce"})
    assert card_of(tiny_run).data.tags == ["mscn", "simclr", "self-supervised-learning", "vision"]
    with_training(tiny_run, method="supervised", recipe={"objective": "cross_entropy"})
    card = card_of(tiny_run)
    assert card.data.tags == ["mscn", "supervised", "vision"] and "images with their labels" in card.text
    (tiny_run / "encoder" / "training.json").unlink()
    assert card_of(tiny_run).data.tags == ["mscn", "vision"], "nothing is on record"


def test_scores_are_not_said_to_be_of_frozen_features(tiny_run, tiny_hash):
    text = card_of(tiny_run, results=[result_of(tiny_hash, protocol="finetune")]).text
    said = "measured with exactly these weights, frozen or fine-tuned as the protocol says (sha256 over all tensors"
    assert f"{said} `{tiny_hash}`)" in text and "frozen features" not in text


def test_templates_are_the_packages_own(tiny_run, tmp_path, monkeypatch):
    for name in ("template.md", "shared.md"):
        (tmp_path / name).write_text("somebody's own")
    monkeypatch.chdir(tmp_path)
    assert "## Limits and biases" in card_of(tiny_run).text


def test_text_from_another_hand_is_kept(tiny_run, caplog):
    path = write_card(tiny_run, check_usage=False)
    path.write_text(path.read_text().replace(MARKER, "").replace("# imagenette-mscn", "# Mine"))
    write_card(tiny_run, check_usage=False)
    assert "# Mine" in path.read_text()
    assert "left as it is" in caplog.text


def test_licence_is_checked_and_remembered(tiny_run):
    assert card_of(tiny_run).data.license is None
    assert card_of(tiny_run, license="cc-by-4.0").data.license == "cc-by-4.0"
    assert card_of(tiny_run).data.license == "cc-by-4.0"
    with pytest.raises(UnfitFolderError, match="identifier such as"):
        card_of(tiny_run, license="Apache 2\nx: y")


def test_only_repositories_are_named_as_datasets(tmp_path):
    assert hub_dataset("ILSVRC/imagenet-1k", "abc") == "ILSVRC/imagenet-1k"
    assert hub_dataset("ILSVRC/imagenet-1k", None) is None, "a folder of this name leaves no revision"
    assert hub_dataset(str(tmp_path), "abc") is None
    assert hub_dataset("org/na me", "abc") is None


def test_usage_is_run_word_for_word(tiny_run):
    text = write_card(tiny_run).read_text()
    assert text.count("it printed the shape `(1, 16)`") == 2  # with the package, and with remote code
    assert 'AutoModel.from_pretrained("encoder", trust_remote_code=True)' in text
    assert "import mscn_hf" in text


def test_eval_results_name_their_benchmark_and_come_back(tiny_run, tiny_hash):
    benchmark = {"benchmark_id": "org/bench", "task_id": "knn_top1"}
    results = [
        result_of(tiny_hash, **benchmark, selection="a: b\n- c"),
        result_of(tiny_hash, benchmark_id="org/bench", task_id="knn_top5", value=0.9),
        result_of(tiny_hash, **benchmark, seed=1, value=0.6),
        result_of(
            tiny_hash, **benchmark, dataset="org/bench", dataset_revision="5" * 40, protocol="../../x", value=1.0
        ),
        result_of(tiny_hash),  # no benchmark: not here
    ]
    files = eval_results_files(results)
    assert list(files) == [
        ".eval_results/mscn-hf_org-bench_knn_seed0.yaml",
        ".eval_results/mscn-hf_org-bench_knn_seed1.yaml",
        ".eval_results/mscn-hf_org-bench_x_seed0.yaml",
    ]
    entries = [entry for text in files.values() for entry in read_eval_results(text)]
    assert entries == [eval_entry(results[i]) for i in (0, 1, 2, 3)]
    assert [entry.dataset_revision for entry in entries] == [None, None, None, "5" * 40]
    assert yaml.safe_load(files[".eval_results/mscn-hf_org-bench_knn_seed1.yaml"])[0]["value"] == 0.6
    with pytest.raises(ValueError, match="no benchmark_id"):
        eval_entry(results[-1])


def test_a_benchmarks_task_has_one_score(tiny_hash, caplog):
    """As an evaluation writes them: every metric of a protocol with the task's name, the main one first."""

    def scores(*results):
        files = eval_results_files([result_of(tiny_hash, **benchmark, **fields) for fields in results])
        return [[entry.value for entry in read_eval_results(text)] for text in files.values()]

    benchmark = {"benchmark_id": "org/bench", "task_id": "knn"}
    top1, top5 = {"value": 0.6, "interval": None}, {"value": 0.9, "interval": None, "metric": "top5_accuracy"}
    assert scores(top1, top5) == [[0.6]]
    assert "top5_accuracy of knn is left out" in caplog.text and "has the score top1_accuracy already" in caplog.text
    assert scores(top1, top5, top1 | {"value": 0.7}, top5) == [[0.7]], "measured again"
    assert scores(top1, top1 | {"value": 0.8, "dataset": "org/other"}) == [[0.6]]
    assert scores(top1, top5 | {"protocol": "linear"}, top5 | {"seed": 1}) == [[0.6], [0.9], [0.9]]


def test_results_may_come_from_a_file_of_ones_own(tiny_run, tiny_hash, tmp_path):
    append_results(tmp_path / "other.jsonl", [result_of(tiny_hash, value=0.625, interval=None)])
    card = card_of(tiny_run, results=tmp_path / "other.jsonl")
    assert [entry.metric_value for entry in card.data.eval_results] == [0.625]
    assert isinstance(read_results(tmp_path / "other.jsonl")[0], Result)
