# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Text from datasets, paths and commands, made fit to be published: no markup, no local paths, no secrets."""

import json
import os
import re
import shlex
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

# huggingface_hub's own names (hf_hub_download) hold underscores and are shorter, tokens are one run of 34 letters.
SECRET = re.compile(
    rb"\b(?:hf_[A-Za-z0-9]{16,}|api_org_[A-Za-z0-9]{16,}|gh[pousr]_[A-Za-z0-9]{20,}|AKIA[0-9A-Z]{16})\b"
    rb"|-----BEGIN [A-Z ]*PRIVATE KEY-----"
)
# A path starts where a word starts (not inside https://…, org/name or x/y), and "1 /4" is a fraction.
_ROOT = (
    r"(?:file://|~[\w-]*(?=[/\\])|\.{1,2}(?=[/\\])|[A-Za-z]:(?=[/\\])|(?=[/\\]{1,2}(?:[^\W\d]|\.|\d[^\s/\\]*[/\\])))"
)
_PATH = re.compile(r"(?<![\w.:/\\~-])" + _ROOT + r"[/\\][^\s'\",;|<>()\[\]{}]*")
_PRIVATE_FIELDS = re.compile(r"(?:^|_)(?:host(?:name)?|user(?:name)?|cwd|home|token|password|secret|api_key)$")


def plain(text: object, limit: int = 500) -> str:
    """One line of printable characters, at most `limit` of them."""
    line = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def markdown(text: object, limit: int = 500) -> str:
    """The text as Markdown that shows exactly it: markup, table bars, links and HTML are escaped."""
    line = plain(text, limit).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    line = re.sub(r"([\\`*_{}\[\]()#+!|~$])", r"\\\1", line)
    # Bare addresses become links by themselves in GitHub's Markdown; a broken word does not.
    return re.sub(r"(?i)(://|\bwww\.|@)", lambda match: match[0][:-1] + f"&#{ord(match[0][-1])};", line)


def fenced(text: str, language: str = "") -> str:
    """A code block whose fence is longer than any run of backticks in the text."""
    text = "".join(c for c in text.replace("\r", "") if c.isprintable() or c in "\n\t").strip("\n")
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def is_local_path(name: str) -> bool:
    """Whether the name of a dataset or model stands for a place on this machine and not for a repository on the Hub.

    `org/name` is taken for a repository unless it exists here as a file or folder.
    """
    if re.match(r"(?!file:)[a-z0-9+.-]{2,}://", name):
        return False
    return bool(re.match(_ROOT + r"[/\\]", name)) or name in (".", "..", "~") or _is_relative_path(name)


def _is_relative_path(name: str) -> bool:
    return "\\" in name or name.count("/") > 1 or (len(name) < 256 and os.path.exists(name))


def base_name(path: str) -> str:
    """The last part of a path, in the manner of POSIX or Windows."""
    path = path.rstrip("/\\")
    name = PureWindowsPath(path).name if "\\" in path else PurePosixPath(path).name
    return name if name not in ("", "..", "~") else "folder"


def public_name(name: str) -> str:
    """A dataset's or model's name as it may be published: a Hub id stays, a local path becomes its last part."""
    prefix, colon, path = (
        name.rpartition(":") if name.startswith(("random:", "unfiltered:", "timm:")) else ("", "", name)
    )
    return prefix + colon + (base_name(path) if is_local_path(path) else path)


def without_paths(text: str) -> str:
    """Text in which every path of this machine is replaced by its last part."""
    if re.match(_ROOT + r"[/\\]", text) and not re.search(r"\n|\s-|[=;&|]", text):
        return base_name(text)  # one path, perhaps with spaces in it
    home = str(Path.home())
    if len(home) > 1:
        text = text.replace(home, "~")
    return _PATH.sub(lambda match: base_name(match[0]), text)


def public_command(command: str) -> str:
    """A command line with local paths reduced to their last parts, quoted again for a shell."""
    try:
        words = shlex.split(command)
    except ValueError:
        return without_paths(command)
    shown = []
    for word in words:
        option, equals, value = word.partition("=") if word.startswith("-") else ("", "", word)
        shown.append(option + equals + (public_name(value) if is_local_path(value) else without_paths(value)))
    return shlex.join(shown)


def public_value(value: Any) -> Any:
    """A JSON-able value without local paths, and without fields that name the machine or its user."""
    if isinstance(value, dict):
        shown = {k: v for k, v in value.items() if not _PRIVATE_FIELDS.search(str(k).lower())}
        return {without_paths(str(k)): public_value(v) for k, v in shown.items()}
    if isinstance(value, list | tuple):
        return [public_value(item) for item in value]
    return without_paths(value) if isinstance(value, str) else value


def find_secret(data: bytes) -> int | None:
    """The number of the first line that holds something like an access token or private key, or None."""
    match = SECRET.search(data)
    return None if match is None else data.count(b"\n", 0, match.start()) + 1


def public_json(data: bytes) -> bytes:
    """A JSON document, `public_value` applied; the `command` field is read as a command line."""
    value = json.loads(data)
    command = value.get("command") if isinstance(value, dict) else None
    value = public_value(value)
    if isinstance(command, str):
        value["command"] = public_command(command)
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
