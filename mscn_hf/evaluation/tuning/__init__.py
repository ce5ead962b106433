# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Protocols that train on augmented images: linear heads on a frozen encoder, and fine-tuning of the whole."""
