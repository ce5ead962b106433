# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Image batch -> training views: crop, colour, blur, high-pass and masks, batched on the batch's device."""

from .collator import ViewCollator
from .contact_sheet import draw_contact_sheet
from .draws import Draws
from .recipe import ViewRecipe, ViewSpec

__all__ = ["Draws", "ViewCollator", "ViewRecipe", "ViewSpec", "draw_contact_sheet"]
