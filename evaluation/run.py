#!/usr/bin/env python
# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Scores a frozen encoder, on one process or several:

python evaluation/run.py knn --model org/encoder random:org/encoder pixels --dataset org/data --out results.jsonl
accelerate launch evaluation/run.py linear --model runs/mscn/encoder --dataset org/data --out results.jsonl
python evaluation/run.py all --budget small --model runs/mscn/encoder --dataset org/data --out results.jsonl
"""

import sys

from mscn_hf.cli import main

if __name__ == "__main__":
    sys.exit(main(["evaluate", *sys.argv[1:]]))
