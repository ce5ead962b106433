# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
import json

import pytest
from timm.data import ImageNetInfo

from mscn_hf.evaluation.robustness.classes import ClassMatcher, class_key, class_keys, read_class_list, read_map

INFO = ImageNetInfo("imagenet-1k")
IDS = INFO.label_names()
DESCRIPTIONS = INFO.label_descriptions()


def test_numeric_folders_go_by_their_name_and_not_by_their_place():
    folders = sorted(str(number) for number in range(1000))  # what an image folder's labels look like
    assert folders[:4] == ["0", "1", "10", "100"]
    matcher = ClassMatcher(IDS, 1000, folders)
    assert [matcher.columns(name, place) for place, name in enumerate(folders)] == [[int(name)] for name in folders]


def test_ids_names_and_numbers_mean_the_same_class():
    matcher = ClassMatcher(None, 1000)
    for name in ("n01440764", "tench, Tinca tinca", "Tench", "tinca_tinca", "0"):
        assert matcher.columns(name) == [0], name
    assert ClassMatcher(DESCRIPTIONS, 1000, IDS).columns("n03126707", 517) == [517]


def test_two_cranes_are_told_apart_by_their_place_only():
    assert DESCRIPTIONS[134] == DESCRIPTIONS[517] == "crane"
    matcher = ClassMatcher(IDS, 1000, DESCRIPTIONS)
    assert (matcher.columns("crane", 134), matcher.columns("crane", 517)) == ([134], [517])
    with pytest.raises(ValueError, match="or more than one, is called 'crane'"):
        ClassMatcher(IDS, 1000, ["crane", "tench"]).columns("crane", 0)
    # A full list in ImageNet's order is taken by place where a name is not the usual one, another list is not.
    renamed = ["crane bird" if number == 134 else name for number, name in enumerate(DESCRIPTIONS)]
    assert ClassMatcher(IDS, 1000, renamed).columns("crane bird", 134) == [134]
    assert class_keys(renamed) == IDS
    assert class_keys(renamed[::-1])[999 - 134] == "crane bird" and class_keys(renamed[::-1])[0] == IDS[999]


def test_every_description_leads_to_its_class_or_nowhere():
    for number, description in enumerate(DESCRIPTIONS):
        assert class_key(description) in (IDS[number], "crane"), description


def test_classes_that_are_not_imagenets():
    matcher = ClassMatcher(["red", "green", "blue"], 3, ["green", "red"])
    assert (matcher.columns("green", 0), matcher.columns("red", 1)) == ([1], [0])
    with pytest.raises(ValueError, match=r"called 'mauve'.*'red', 'green', 'blue'.*give a class_map"):
        matcher.columns("mauve")
    assert ClassMatcher(["red", "green"], 2, strangers="wrong").columns("mauve") == []
    # Both name one class of ImageNet, but here they are two; and a number of a class says nothing about columns.
    matcher = ClassMatcher(["cougar", "mountain lion", "7"], 3, strangers="wrong")
    assert [matcher.columns(name) for name in ("cougar", "mountain lion", "7", "1")] == [[0], [1], [2], []]
    assert ClassMatcher(None, 5).columns("3") == [3]
    with pytest.raises(ValueError, match="3 classes but 2 names"):
        ClassMatcher(["a", "b"], 3)


def test_a_class_map_names_one_or_several_and_leaves_the_rest_out():
    class_map = {
        "Alarm clock": "analog clock; digital clock",
        "Fish": ["n01440764", 1],
        "tench": "tench, Tinca tinca",
        "wrong": "no such thing",
    }
    matcher = ClassMatcher(IDS, 1000, None, class_map, {"alarm_clock_2": "Alarm clock"})
    assert matcher.columns("alarm_clock_2") == [409, 530]
    assert matcher.columns("fish") == [0, 1] and matcher.columns("tench") == [0]
    assert matcher.columns("armchair") is None
    assert matcher.all_of(["fish", "armchair", "tench"]) == [0, 1]
    with pytest.raises(ValueError, match="'wrong' is mapped to 'no such thing'"):
        matcher.columns("wrong")


def test_lists_and_maps_from_files(tmp_path):
    for name in ("imagenet-a", "imagenet-r"):
        ids = read_class_list(name)
        assert len(ids) == len(set(ids)) == 200 and set(ids) <= set(IDS)
    path = tmp_path / "classes.txt"
    path.write_text("n01440764 tench\n\nn01443537\nhot dog\n")
    assert read_class_list(str(path)) == ["n01440764", "n01443537", "hot dog"]
    path.write_text(json.dumps({"a": 1}))
    assert read_map(str(path)) == {"a": 1}
    for text, message in (("[1]", "must hold a JSON object from class to class, got list"), ("{", "is not JSON")):
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            read_map(str(path))
    with pytest.raises(ValueError, match=r"cannot read 'nowhere\.json'"):
        read_map("nowhere.json")
