# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Datasets on a Hub: streamed with ranges and a pinned commit; a closed door is said to be one."""

import json
import os
import subprocess
import sys
from pathlib import Path

from hub_server import hub_server
from tiny_images import encoded

REPO = Path(__file__).resolve().parents[2]

SCRIPT = """
import json, sys
import datasets
datasets.config.STREAMING_READ_MAX_RETRIES = datasets.config.HF_HUB_MAX_RETRIES = 1
from mscn_hf.data import Share, SourceError, open_order, open_source
from mscn_hf.data.stream import WindowOrder
out = {}
source = open_source("org/open")
order = open_order(source, Share(0, 0, 2, 4), window_bytes=4000)
assert isinstance(order, WindowOrder)
whole = [s.row.id for s in order.samples(1)]
out["tail"] = [s.row.id for s in order.samples(1, 20)] == whole[20:]
other = [s.row.id for s in open_order(source, Share(0, 1, 2, 4), window_bytes=4000).samples(1)]
out["apart"] = len(set(whole) | set(other)) == len(whole) + len(other) == 104
out["revision"] = source.revision
out["folder"] = sorted(
    (s.row.id.rsplit("/", 1)[1], len(s.row.read())) for s in open_order(open_source("org/folder"), Share(0),
    samples_per_epoch=4).samples(0)
)
for name in ("org/gated", "org/absent"):
    try:
        open_source(name)
    except SourceError as error:
        out[name] = str(error)
print("ANSWER", json.dumps(out))
"""


def test_streams_by_repo_id_and_says_what_is_gated(parquet_folder, tmp_path):
    with hub_server(token=None) as hub:
        hub.seed(parquet_folder(107, shards=2), "org/open")
        hub.seed(parquet_folder(8, name="closed"), "org/gated")
        hub.repo("dataset", "org/gated").gated = True
        for number in range(4):
            picture = tmp_path / "folder" / "train" / "ab"[number % 2] / f"{number}.jpg"
            picture.parent.mkdir(parents=True, exist_ok=True)
            picture.write_bytes(encoded(number))
        hub.seed(tmp_path / "folder", "org/folder")
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env={**inherited, **hub.env, "PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=240,
        )
    assert done.returncode == 0, done.stderr[-3000:]
    answer = json.loads(done.stdout.split("ANSWER ")[1])
    assert answer["tail"]
    assert answer["folder"] == [[f"{n}.jpg", len(encoded(n))] for n in range(4)]
    assert answer["apart"]
    assert len(answer["revision"]) == 40
    assert (
        "'org/gated' is gated or private: accept its terms on the Hub, then run `hf auth login`" in answer["org/gated"]
    )
    assert "no such dataset on the Hub" in answer["org/absent"]
