# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Self-supervised ConvNets for Hugging Face. Importing this package makes transformers' Auto classes know them."""

from .models import *  # noqa: F403
from .models import __all__ as __all__
