# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Whether the settings of a run fit together, found out before any weight is made or image is read."""

import torch

from mscn_hf.methods.configuration import SiameseConfig
from mscn_hf.methods.heads import Predictor, mlp
from mscn_hf.methods.objectives import OBJECTIVES

from .arguments import PretrainingArguments
from .recipe_file import RunConfig


def check_run(config: RunConfig) -> SiameseConfig:
    """The config of a run's pre-training network, once encoder, heads, loss and views fit together.

    Raises:
        ValueError, TypeError: they do not; the message names the setting.
    """
    encoder = config.model.encoder_config(config.views.image_mean, config.views.image_std)
    _check_filter(config, getattr(encoder, "high_pass_sigma", None))
    siamese = config.model.siamese_config(encoder, config.views)
    views, fewest = len(config.views.expand()), OBJECTIVES[siamese.objective].fewest_views
    if views < fewest:
        raise ValueError(f"{siamese.objective} needs at least {fewest} views of each image, the recipe has {views}")
    _check_heads(siamese)
    if any(siamese.patch_drop or ()) and not isinstance(getattr(encoder, "patch_size", None), int):
        raise ValueError(f"patch_drop needs a vision transformer, got a {encoder.model_type!r} encoder")
    _check_views(config, siamese)
    check_memory_flat(config.training, siamese)
    return siamese


def check_memory_flat(args: PretrainingArguments, siamese: SiameseConfig) -> None:
    """Raises ValueError where the views of a step cannot pass the network one after the other."""
    if args.memory_flat and not OBJECTIVES[siamese.objective].per_view:
        raise ValueError(
            f"memory_flat: the loss of {siamese.objective} compares online views with one another, so all of "
            "them are held at a time; train it without memory_flat"
        )
    if args.memory_flat and siamese.predictor_of_view is not None and args.world_size > 1:
        raise ValueError(
            "memory_flat joins the gradients of all processes with the last view, which does not pass every "
            "predictor: use predictor_of_view without memory_flat, or one process"
        )


def _check_views(config: RunConfig, siamese: SiameseConfig) -> None:
    """Settings of views that would do nothing."""
    names = [name for name, _, _ in config.views.expand()]
    online = range(len(names)) if siamese.online_views is None else siamese.online_views
    for view, share in enumerate(siamese.patch_drop or ()):
        if share > 0 and view not in online:
            raise ValueError(f"patch_drop of view {names[view]!r}: targets see all patches, and it is no online view")
    if siamese.predictor_of_view is not None:
        unused = set(siamese.predictor_of_view) - {siamese.predictor_of_view[view] for view in online}
        if unused:
            raise ValueError(f"predictor_of_view: no online view passes predictor {sorted(unused)[0]}")


def _check_heads(siamese: SiameseConfig) -> None:
    """The heads' own checks of their sizes and numbers, on no device."""
    with torch.device("meta"):
        mlp(1, siamese.projector, siamese.projector_last_bn, siamese.projector_activation, siamese.projector_last_bias)
        if siamese.predictor is not None:
            Predictor((*siamese.projector, 1)[-1], siamese.predictor, siamese.predictor_of_view)


def _check_filter(config: RunConfig, sigma: float | None) -> None:
    """An encoder trained on filtered views collapses without its filter, and with another one is off."""
    of_views = {name: spec.high_pass_sigma for name, spec in config.views.views.items()}
    if any(value != sigma for value in of_views.values()):
        raise ValueError(
            f"high_pass_sigma of the encoder ({sigma}) and of the views ({of_views}) must be equal: the encoder "
            "filters its input itself when it is used"
        )
    if sigma is None and "unfiltered" in config.training.baselines:
        raise ValueError("baselines names unfiltered, the encoder without its filter, but high_pass_sigma is null")
