# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Classifiers on corrupted and on shifted pictures."""
