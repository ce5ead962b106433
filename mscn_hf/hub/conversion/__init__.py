# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Checkpoints that others published, rewritten as models of this package: safetensors, configuration, card."""
