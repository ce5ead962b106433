#!/usr/bin/env python
# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Scores a frozen encoder, on one process or several:

python evaluation/run.py knn --model org/encoder random:org/encoder pixels --dataset org/data --out results.jsonl
accelerate launch evaluation/run.py linear --model runs/mscn/encoder --dataset org/data --out results.jsonl
python evaluation/run.py all --budget small --model runs/mscn/encoder --dataset org/data --out results.jsonl
"""

import argparse
import sys

from mscn_hf.evaluation import suite
from mscn_hf.evaluation.command import add_arguments, run


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    if sys.argv[1:2] == ["all"]:
        suite.add_arguments(parser)
        return suite.run(parser.parse_args())
    add_arguments(parser)
    return run(parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
