# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""accelerate launch training/train_saliency.py --config training/saliency/<file>.yaml [--any_field value …]"""

import sys

from mscn_hf.cli import main

if __name__ == "__main__":
    sys.exit(main(["saliency", "train", *sys.argv[1:]]))
