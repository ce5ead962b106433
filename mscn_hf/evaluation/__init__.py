# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Frozen features, probes on them, and the Results that come out."""
