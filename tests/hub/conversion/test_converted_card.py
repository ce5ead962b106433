# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
import dataclasses
import json

import pytest
import torch
from huggingface_hub import ModelCard
from PIL import Image
from safetensors.torch import load_file
from somebodys_run import result_of
from test_msn import official, small_vit
from torch_checkpoints import body, checkpoints, small_resnet

import mscn_hf.hub.conversion.card as card_module
from mscn_hf.hub import card_parts
from mscn_hf.hub.card_parts import Scores
from mscn_hf.hub.conversion.card import converted_card, write_converted
from mscn_hf.hub.conversion.families import FAMILIES
from mscn_hf.hub.conversion.msn import convert_msn
from mscn_hf.hub.conversion.pth import convert_pth
from mscn_hf.hub.model_folder import UnfitFolderError, open_model_folder
from mscn_hf.hub.publish import push
from mscn_hf.models import ReLICv2Config, ReLICv2Model


@pytest.fixture
def swav(tmp_path):
    torch.save(checkpoints(small_resnet(seed=1), small_resnet(seed=2))["swav"], tmp_path / "swav_w.pth.tar")
    return tmp_path / "swav_w.pth.tar"


def headings(text):
    return [line for line in text.split("\n") if line.startswith("#")]


def test_card_says_whose_weights_they_are(swav, tmp_path):
    conversion = convert_pth(swav, tmp_path / "swav-small", check_usage=False)
    card = ModelCard.load(tmp_path / "swav-small" / "README.md")
    assert (card.data.license, card.data.library_name) == ("cc-by-nc-4.0", "transformers")
    assert card.data.pipeline_tag == "image-feature-extraction"
    assert card.data.tags == ["resnet", "self-supervised-learning", "vision", "swav", "converted"]
    assert card.data.get("base_model") is None and card.data.get("model-index") is None
    for said in (
        "# swav-small",
        "those of SwAV (<https://arxiv.org/abs/2006.09882>), published at <https://github.com/facebookresearch/swav>",
        "CC BY-NC 4.0",
        'AutoModel.from_pretrained("swav-small").eval()',
        "shorter side to 256 (bilinear), middle 224x224, mean (0.485, 0.456, 0.406), standard deviation (0.228,",
        "| architecture | ResNet-10 0.125x |",
        "| checkpoint | swav\\_w.pth.tar |",
        f"| checkpoint sha256 | {conversion['facts']['checkpoint sha256']} |",
        "- module.prototypes.\\*: 1 tensors",
        "The weights: `cc-by-nc-4.0`.",
        "No score of these weights has been recorded here",
        "This example was not run",
    ):
        assert said in card.text, said
    assert conversion["model"]["weights_sha256"] in card.text
    assert str(tmp_path) not in card.text + json.dumps(conversion), "paths of this machine"


def test_licence_and_source_can_be_given(swav, tmp_path):
    options = {"license": "cc-by-4.0", "source": "https://example.org/a_b"}
    convert_pth(swav, tmp_path / "out", check_usage=False, **options)
    card = ModelCard.load(tmp_path / "out" / "README.md")
    assert card.data.license == "cc-by-4.0" and "<https://example.org/a_b>" in card.text and "SwAV" in card.text
    with pytest.raises(ValueError, match="license must be a Hub identifier"):
        convert_pth(swav, tmp_path / "two", license="MIT\nx: y", check_usage=False)
    assert not (tmp_path / "two").exists()
    with pytest.raises(UnfitFolderError, match="license must be a Hub identifier"):
        converted_card(open_model_folder(tmp_path / "out"), license="My Licence", check_usage=False)


def test_a_family_can_be_named_where_the_file_shows_none(tmp_path):
    torch.save(body(small_resnet()), tmp_path / "resnet50.pth")
    convert_pth(tmp_path / "resnet50.pth", tmp_path / "out", family="barlow_twins", check_usage=False)
    card = ModelCard.load(tmp_path / "out" / "README.md")
    assert card.data.license == "cc-by-nc-4.0" and "Barlow Twins" in card.text and "no commercial use" in card.text
    assert card.data.tags == ["resnet", "self-supervised-learning", "vision", "barlow-twins", "converted"]


@pytest.mark.parametrize("family", ["torchvision", "timm", "vissl", "resnet"])
def test_weights_that_may_have_seen_labels_are_not_called_self_supervised(family, tmp_path):
    torch.save(body(small_resnet()), tmp_path / "x.pth")
    convert_pth(tmp_path / "x.pth", tmp_path / "out", family=family, check_usage=False)
    tags = ModelCard.load(tmp_path / "out" / "README.md").data.tags
    assert tags == [*dict.fromkeys(["resnet", "vision", family, "converted"])]


def test_weights_of_nobody_known_claim_nothing(tmp_path):
    torch.save(small_resnet().state_dict(), tmp_path / "x.pth")
    convert_pth(tmp_path / "x.pth", tmp_path / "out", check_usage=False)
    card = ModelCard.load(tmp_path / "out" / "README.md")
    assert card.data.license is None and "self-supervised-learning" not in card.data.tags
    assert "How and by whom the weights were trained does not stand in the file." in card.text
    assert "published at" not in card.text and "No licence has been chosen" in card.text
    assert "fc, which was left out" in card.text


HOSTILE = '](http://evil.org) <img src=x> | `{{ 7 * 7 }}`\n---\n# Injected\n"x: y'


def test_hostile_names_stay_text(tmp_path):
    state = body(small_resnet())
    torch.save({"state_dict": state, HOSTILE: 1, "x": {f"{HOSTILE}.w": torch.ones(1)}}, tmp_path / "x.pth")
    convert_pth(tmp_path / "x.pth", tmp_path / "out", source=HOSTILE, check_usage=False)
    torch.save({"state_dict": state}, tmp_path / "y.pth")
    convert_pth(tmp_path / "y.pth", tmp_path / "plain", check_usage=False)
    card, plain = (ModelCard.load(tmp_path / name / "README.md") for name in ("out", "plain"))
    assert headings(card.text)[1:] == headings(plain.text)[1:]
    assert set(card.data.to_dict()) == set(plain.data.to_dict())
    assert "<img" not in card.text and "](http" not in card.text and "49" not in outside_hashes(card.text)


def outside_hashes(text):
    return "\n".join(line for line in text.split("\n") if "sha256" not in line)


@pytest.mark.parametrize("kind", ["ResNet", "MSN"])
def test_usage_runs_word_for_word_with_plain_transformers(kind, tmp_path):
    if kind == "MSN":
        torch.save(official(small_vit()), tmp_path / "x.pth")
        convert_msn(tmp_path / "x.pth", tmp_path / "out")
    else:
        torch.save(small_resnet().state_dict(), tmp_path / "x.pth")
        convert_pth(tmp_path / "x.pth", tmp_path / "out")
    text = (tmp_path / "out" / "README.md").read_text()
    assert f"it printed the shape `{(1, 192) if kind == 'MSN' else (1, 64)}`" in text
    assert "mscn_hf" not in text and "trust_remote_code" not in text and "It has no classifier" in text


def test_usage_of_a_classifier(tmp_path, monkeypatch, capsys):
    torch.save(small_resnet().state_dict(), tmp_path / "x.pth")
    convert_pth(tmp_path / "x.pth", tmp_path / "out", with_head=True, check_usage=False)
    card = ModelCard.load(tmp_path / "out" / "README.md")
    assert card.data.pipeline_tag == "image-classification" and "with a linear classifier" in card.text
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (300, 200)).save("photo.jpg")
    exec(card.text.split("```python\n")[1].split("```")[0], {})
    assert capsys.readouterr().out == "(1, 1000)\n"


def test_scores_of_these_weights_are_shown(swav, tmp_path):
    conversion = convert_pth(swav, tmp_path / "out", check_usage=False)
    own = result_of(conversion["model"]["weights_sha256"])
    scores = Scores(own.model_revision, (own,), (dataclasses.replace(own, model="pixels", model_revision="ab" * 32),))
    card = converted_card(open_model_folder(tmp_path / "out"), scores, repo_id="org/swav", check_usage=False)
    assert card.data.eval_results[0].metric_value == own.value
    assert f"**{own.value:.4f}**" in card.text and "pixels (abababab)" in card.text and "# swav" in card.text
    assert "with exactly these weights, frozen or fine-tuned as the protocol says (sha256" in card.text
    assert "No score of these weights" not in card.text


def test_examples_that_fail_are_told(swav, tmp_path, caplog, monkeypatch):
    def fail(examples, model_id, folder):
        return [dataclasses.replace(example, error="KeyError: x") for example in examples]

    monkeypatch.setattr(card_parts, "run_usage", fail)
    convert_pth(swav, tmp_path / "out")
    folder = open_model_folder(tmp_path / "out")
    assert "**This example failed when this card was written**" in converted_card(folder).text
    assert "a usage example of the card failed" in caplog.text
    with pytest.raises(UnfitFolderError, match="usage example does not run"):
        converted_card(folder, strict=True)
    (tmp_path / "out" / "conversion.json").write_text('{"family": "swav"}')
    with pytest.raises(UnfitFolderError, match=r"conversion.json lacks title, paper"):
        converted_card(folder)


def test_models_of_this_package_keep_their_own_files(tmp_path):
    config = ReLICv2Config(embedding_size=8, hidden_sizes=[8, 16, 24, 32], depths=[1] * 4, layer_type="basic")
    facts = {"architecture": "small", "left out": ["projector"], "notes": ["A note."], "count": 3}
    write_converted(ReLICv2Model(config), tmp_path / "out", "relicv2", None, None, facts, check_usage=False)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"modeling_relicv2.py", "preprocessor_config.json", "conversion.json", "README.md"} <= names
    card = ModelCard.load(tmp_path / "out" / "README.md")
    assert card.data.license == FAMILIES["relicv2"].license
    assert "- projector\n" in card.text and "- A note." in card.text and "| count | 3 |" in card.text
    assert "tomasev2022pushing" in card.text and "(bicubic)" in card.text


def test_byols_weights_are_not_called_relicv2(tmp_path):
    config = ReLICv2Config(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", padding="same", image_size=64
    )
    cards = {}
    for family in ("byol", "relicv2"):
        facts = {"architecture": "small", "left out": [], "notes": []}
        write_converted(ReLICv2Model(config), tmp_path / family, family, None, None, facts, check_usage=False)
        cards[family] = ModelCard.load(tmp_path / family / "README.md")
    byol, relicv2 = cards["byol"], cards["relicv2"]
    assert "A ResNet with SAME padding of " in byol.text and "BYOL" in byol.text and "ReLICv2" not in byol.text
    assert byol.data.tags == ["resnet", "self-supervised-learning", "vision", "byol", "converted"]
    assert "A ReLICv2 ResNet of " in relicv2.text
    assert relicv2.data.tags == ["relicv2", "self-supervised-learning", "vision", "converted"]


def test_nothing_half_written_is_left(swav, tmp_path, monkeypatch):
    def other_weights(model, folder):
        tensors = load_file(folder / "model.safetensors")
        raise RuntimeError(f"{len(tensors)} tensors differ")

    monkeypatch.setattr(card_module, "_load_again", other_weights)
    with pytest.raises(RuntimeError, match="tensors differ"):
        convert_pth(swav, tmp_path / "new" / "out", check_usage=False)
    assert [path.name for path in (tmp_path / "new").iterdir()] == []


def test_no_folder_appears_without_its_card(swav, tmp_path, monkeypatch):
    def interrupted(*args, **options):
        raise KeyboardInterrupt

    (tmp_path / "new").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(card_module, "try_usage", interrupted)
        with pytest.raises(KeyboardInterrupt):
            convert_pth(swav, tmp_path / "new" / "out")
    assert [path.name for path in (tmp_path / "new").iterdir()] == []
    (tmp_path / "new" / "out").mkdir()  # empty: may be taken
    convert_pth(swav, tmp_path / "new" / "out", check_usage=False)
    assert (tmp_path / "new" / "out" / "README.md").is_file()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["out"]


def test_what_does_not_load_as_it_was_saved(swav, tmp_path, monkeypatch):
    real = card_module._write

    def spoil(model, folder, *rest):
        with torch.no_grad():
            next(model.parameters()).view(-1)[0] += 1
        real(model, folder, *rest)
        with torch.no_grad():
            next(model.parameters()).view(-1)[0] -= 1

    monkeypatch.setattr(card_module, "_write", spoil)
    with pytest.raises(RuntimeError, match=r"does not load as what was converted: .*embedder"):
        convert_pth(swav, tmp_path / "out", check_usage=False)
    assert not (tmp_path / "out").exists()


def test_a_converted_folder_can_be_published(swav, tmp_path):
    convert_pth(swav, tmp_path / "out", check_usage=False)
    files = push(tmp_path / "out", "org/swav", dry_run=True, check_usage=False).files
    assert set(files) == {
        *("README.md", "config.json", "conversion.json", "model.safetensors", "preprocessor_config.json"),
    }
