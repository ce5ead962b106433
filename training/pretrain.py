# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""accelerate launch training/pretrain.py --config training/recipes/<recipe>.yaml [--any_field value …]"""

import sys

from mscn_hf.cli import main

if __name__ == "__main__":
    sys.exit(main(["pretrain", *sys.argv[1:]]))
