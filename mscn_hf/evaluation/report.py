# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Results as tables to read and pictures to look at, under one name."""

from .score_plots import PlotRow, plot_rows, plot_scores
from .score_table import SHORT_METRIC, format_table, short_name

__all__ = [
    "SHORT_METRIC",
    "PlotRow",
    "format_table",
    "plot_rows",
    "plot_scores",
    "short_name",
]
