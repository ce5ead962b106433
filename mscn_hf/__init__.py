# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Self-supervised ConvNets for Hugging Face: importing this package makes transformers' Auto classes know its models."""

from .models import *  # noqa: F403
from .models import __all__ as __all__
