# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""The config of a pre-training network, and the values of the MSCN paper."""

from typing import Any, Self

import torch
from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig

from mscn_hf.methods.heads import ACTIVATIONS
from mscn_hf.methods.objectives import PAIRINGS, build_objective

# Heads of the MSCN paper (Jing et al. 2022, appendix A.1): projectors 2048-2048-256 (SimCLR) and 2048-4096-256 (BYOL),
# predictor 256-4096-256. The temperature and the first EMA rate are not in the text: SimCLR's and BYOL's own.
MSCN_FIELDS: dict[str, dict[str, Any]] = {
    "info_nce": {
        "objective_params": {"temperature": 0.1},
        "projector": [2048, 256],
        "projector_last_bn": True,
        "predictor": None,
        "ema": None,
    },
    "byol": {
        "objective_params": {},
        "projector": [4096, 256],
        "projector_last_bn": False,
        "predictor": [4096, 256],
        "ema": 0.996,
    },
}

# ReLICv2 (Tomasev et al. 2022). n_e = 10: appendix G.3. ema: the row that tables 18, 21 and 22 share. Temperature and
# scales are not verified against the paper; heads as in BYOL, whose code it shares.
RELICV2_FIELDS: dict[str, Any] = {
    "objective": "relic",
    "objective_params": {"temperature": 0.2, "contrast_scale": 0.3, "invariance_scale": 2.0, "negatives": 10},
    "projector": [4096, 256],
    "projector_last_bn": False,
    "predictor": [4096, 256],
    "ema": 0.993,
    "pairing": "all",
}


@strict
class SiameseConfig(PreTrainedConfig):
    """What a pre-training network is made of.

    Args:
        encoder: `to_dict()` or `to_diff_dict()` of the encoder's config, with its `model_type`; any type that
            AutoModel knows; pooled is its `pooler_output`, else its class token or the mean over positions.
        objective: a name in `mscn_hf.methods.objectives.OBJECTIVES`.
        objective_params: that objective's settings, such as `{"temperature": 0.1}`.
        projector: hidden sizes, then the embedding size D; empty: the pooled features themselves.
        projector_last_bn: batch norm on the projector's output.
        projector_activation: "relu" or "gelu".
        projector_last_bias: a bias in the projector's last layer.
        predictor: sizes of the online network's extra head, ending in D when there is a target network; None: no head.
        predictor_of_view: for each view, which predictor it uses (0, 1, ...); None: one predictor for all views.
        ema: the rate with which the target network starts; needed by objectives with a target, None for the others.
        online_views: which views pass the online network; None: all of them.
        target_views: which views are compared as targets: every pair has at least one of them, and with a target
            network only they pass it; None: all of them.
        pairing: "all" pairs of views, or only the pairs (view 0, view k): "first".
        patch_drop: for each view, the share of its patches that the online network does not see (ViT only).
        publish: which encoder is the result, "online" or "target".

    Raises:
        ValueError: for values that do not fit together.
    """

    model_type = "siamese"

    encoder: dict[str, Any] | None = None
    objective: str = "info_nce"
    objective_params: dict[str, Any] | None = None
    projector: list[int] | tuple[int, ...] = (2048, 256)
    projector_last_bn: bool = True
    projector_activation: str = "relu"
    projector_last_bias: bool = False
    predictor: list[int] | tuple[int, ...] | None = None
    predictor_of_view: list[int] | tuple[int, ...] | None = None
    ema: float | int | None = None
    online_views: list[int] | tuple[int, ...] | None = None
    target_views: list[int] | tuple[int, ...] | None = None
    pairing: str = "first"
    patch_drop: list[float | int] | tuple[float | int, ...] | None = None
    publish: str = "online"

    def __post_init__(self, **kwargs: Any) -> None:
        self.objective_params = dict(self.objective_params or {})
        # On no device: this is only to see whether the objective takes its settings.
        with torch.device("meta"):
            objective = build_objective(self.objective, self.objective_params, (*self.projector, 1)[0])
        self._check_target(objective.uses_target)
        if self.pairing not in PAIRINGS:
            raise ValueError(f"pairing must be one of {', '.join(PAIRINGS)}, got {self.pairing!r}")
        if self.projector_activation not in ACTIVATIONS:
            raise ValueError(
                f"projector_activation must be one of {', '.join(ACTIVATIONS)}, got {self.projector_activation!r}"
            )
        for name in ("online_views", "target_views"):
            views = getattr(self, name)
            if views is not None and (not views or len(set(views)) != len(views)):
                raise ValueError(f"{name} must name at least one view, each once, got {list(views)}")
        if self.online_views is not None and not objective.uses_target:
            raise ValueError(f"objective {self.objective!r} has no target network: leave out online_views")
        if self.predictor is None and self.predictor_of_view is not None:
            raise ValueError(f"predictor_of_view is {list(self.predictor_of_view)} but there is no predictor")
        for ratio in self.patch_drop or ():
            if not 0 <= ratio < 1:
                raise ValueError(f"patch_drop must lie in [0, 1), got {ratio}")
        super().__post_init__(**kwargs)

    def _check_target(self, uses_target: bool) -> None:
        if uses_target and self.ema is None:
            raise ValueError(f"objective {self.objective!r} needs a target network: set ema, such as 0.996")
        if not uses_target and self.ema is not None:
            raise ValueError(f"objective {self.objective!r} has no target network: leave out ema ({self.ema})")
        if self.ema is not None and not 0.0 <= self.ema <= 1.0:
            raise ValueError(f"ema must lie in [0, 1], got {self.ema}")
        if self.publish not in ("online", "target") or (self.publish == "target" and not uses_target):
            raise ValueError(
                f"publish must be online, or target where the objective has a target network, got {self.publish!r}"
            )
        if uses_target and self.predictor and self.projector and self.predictor[-1] != self.projector[-1]:
            raise ValueError(
                f"predictor must end in the projector's size {self.projector[-1]}, got {list(self.predictor)}"
            )

    def online_views_of(self, num_views: int) -> tuple[int, ...]:
        """Return the numbers of the views that pass the online network, out of `num_views`."""
        return tuple(range(num_views)) if self.online_views is None else tuple(self.online_views)

    def target_views_of(self, num_views: int) -> tuple[int, ...]:
        """Return the numbers of the views that are compared as targets, out of `num_views`."""
        return tuple(range(num_views)) if self.target_views is None else tuple(self.target_views)

    @classmethod
    def from_encoder(cls, encoder_config: PreTrainedConfig, **fields: Any) -> Self:
        """Make the config of a pre-training network around an encoder's config."""
        return cls(encoder=encoder_config.to_diff_dict(), **fields)


AutoConfig.register("siamese", SiameseConfig)
