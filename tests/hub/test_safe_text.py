# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
import html
import re
from pathlib import Path

import pytest

from mscn_hf.hub.safe_text import (
    fenced,
    find_secret,
    is_local_path,
    markdown,
    public_command,
    public_name,
    public_value,
    without_paths,
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/home/jane/private work/imagenette", "imagenette"),
        ("see /home/jane/b.png, and https://x.org/a/b", "see b.png, and https://x.org/a/b"),
        ("10 / 20 and 1 /4 of train", "10 / 20 and 1 /4 of train"),
        ("~/runs/a", "a"),
        ("~jane/runs/a", "a"),
        (r"C:\Users\jane\data", "data"),
        ("file:///home/jane/z", "z"),
        ("hf://datasets/org/name/data", "hf://datasets/org/name/data"),
        ("x=/mnt/jane/data;y=../jane/other", "x=data;y=other"),
        ("and/or, org/name", "and/or, org/name"),
        ("on /mnt/1/data at 3/4", "on data at 3/4"),
    ],
)
def test_paths_lose_all_but_their_last_part(text, shown):
    assert without_paths(text) == shown


def test_home_folder_with_spaces_inside_a_sentence(monkeypatch):
    monkeypatch.setattr(Path, "home", lambda: Path("/users/Jane Doe"))
    assert without_paths("trained on /users/Jane Doe/data") == "trained on data"


def test_names_of_repositories_stay(tmp_path, monkeypatch):
    assert public_name("ILSVRC/imagenet-1k") == "ILSVRC/imagenet-1k"
    assert public_name("random:/home/jane/encoder") == "random:encoder"
    assert public_name("timm:resnet18") == "timm:resnet18"
    (tmp_path / "org" / "name").mkdir(parents=True)
    assert not is_local_path("org/name")
    monkeypatch.chdir(tmp_path)
    assert is_local_path("org/name"), "what exists here is a folder, not a repository"


def test_command_keeps_its_words():
    command = "mscn-hf evaluate knn --model '/home/jane/private work/enc' --dataset=/data/im --k 20 org/name"
    assert public_command(command) == "mscn-hf evaluate knn --model enc --dataset=im --k 20 org/name"
    assert public_command("not 'closed /home/jane/x") == "not 'closed x"


def test_values_lose_paths_and_what_names_machine_or_user():
    value = {"hostname": "janes-laptop", "a": ["/home/jane/x", 0.5, None], "hub_token": "s", "mask": {"p": True}}
    assert public_value(value) == {"a": ["x", 0.5, None], "mask": {"p": True}}


MARKUP = [
    *("# title", "a | b", "<script>alert(1)</script>", "[x](http://evil.org)", "`code`", "*b* _i_ ~~s~~", "---"),
    *(
        "![i](u)",
        "https://evil.org",
        "www.evil.org",
        "@somebody",
        "{{ 7 * 7 }}",
        "&lt;b&gt;",
        "a\\",
        "<!-- -->",
        "$x$",
    ),
]


@pytest.mark.parametrize("text", MARKUP)
def test_markdown_shows_the_text_and_nothing_else(text):
    parser = pytest.importorskip("markdown_it").MarkdownIt("commonmark").enable(["table", "strikethrough"])
    rendered = parser.render(f"| a | b |\n|---|---|\n| {markdown(text)} | end |\n\n{markdown('x ' + text)}")
    assert set(re.findall(r"<(\w+)", rendered)) == {"table", "thead", "tbody", "tr", "th", "td", "p"}, rendered
    assert html.unescape(re.findall(r"<td>(.*?)</td>", rendered)[0]) == text
    assert html.unescape(re.findall(r"<p>(.*?)</p>", rendered)[0]) == f"x {text}"
    assert not re.search(r"://|www\.|@", markdown(text)), "GitHub's Markdown would make a link of it"


def test_markdown_keeps_to_one_line():
    assert markdown("a\n\n# b\r\tc\x00\u2028d") == "a \\# b c d"


def test_code_cannot_leave_its_fence():
    block = fenced("a\n```\n# heading\n````\n\x1b[0m", "yaml")
    lines = block.split("\n")
    assert lines[0] == "`````yaml"
    assert lines[-1] == "`````"
    assert all(not line.startswith("`````") for line in lines[1:-1])
    assert "\x1b" not in block


def test_tokens_are_found_and_functions_are_not():
    token = b"hf_" + b"aB3" * 11
    assert find_secret(b"line\nx = '" + token + b"'\n") == 2
    assert find_secret(b"-----BEGIN RSA PRIVATE KEY-----") == 1
    assert find_secret(b"hf_hub_download(repo_id) hf_api hf_raise_for_status_of_response") is None
