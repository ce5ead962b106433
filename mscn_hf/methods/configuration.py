# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""The config of a pre-training network, and the values of the MSCN paper."""

from typing import Any, Self

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig

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


@strict
class SiameseConfig(PreTrainedConfig):
    """What a pre-training network is made of.

    Args:
        encoder: `to_dict()` or `to_diff_dict()` of the encoder's config, with its `model_type`; any type that
            AutoModel knows and whose output has a `pooler_output`.
        objective: a name in `mscn_hf.methods.objectives.OBJECTIVES`.
        objective_params: that objective's settings, such as `{"temperature": 0.1}`.
        projector: hidden sizes, then the embedding size D.
        projector_last_bn: batch norm on the projector's output.
        predictor: sizes of the online network's extra head, ending in D when there is a target network; None: no head.
        predictor_of_view: for each view, which predictor it uses (0, 1, ...); None: one predictor for all views.
        ema: the rate with which the target network starts; needed by objectives with a target, None for the others.
        target_views: which views pass the target network; None: all of them.
        pairing: "all" pairs of views, or only the pairs (view 0, view k): "first".

    Raises:
        ValueError: for values that do not fit together.
    """

    model_type = "siamese"

    encoder: dict[str, Any] | None = None
    objective: str = "info_nce"
    objective_params: dict[str, Any] | None = None
    projector: list[int] | tuple[int, ...] = (2048, 256)
    projector_last_bn: bool = True
    predictor: list[int] | tuple[int, ...] | None = None
    predictor_of_view: list[int] | tuple[int, ...] | None = None
    ema: float | None = None
    target_views: list[int] | tuple[int, ...] | None = None
    pairing: str = "first"

    def __post_init__(self, **kwargs: Any) -> None:
        self.objective_params = dict(self.objective_params or {})
        uses_target = build_objective(self.objective, self.objective_params).uses_target
        if self.pairing not in PAIRINGS:
            raise ValueError(f"pairing must be one of {', '.join(PAIRINGS)}, got {self.pairing!r}")
        if uses_target and self.ema is None:
            raise ValueError(f"objective {self.objective!r} needs a target network: set ema, such as 0.996")
        if not uses_target and (self.ema is not None or self.target_views is not None):
            raise ValueError(
                f"objective {self.objective!r} has no target network: "
                f"leave out ema ({self.ema}) and target_views ({self.target_views})"
            )
        if self.ema is not None and not 0.0 <= self.ema <= 1.0:
            raise ValueError(f"ema must lie in [0, 1], got {self.ema}")
        if self.predictor is None and self.predictor_of_view is not None:
            raise ValueError(f"predictor_of_view is {list(self.predictor_of_view)} but there is no predictor")
        if uses_target and self.predictor is not None and self.predictor[-1] != self.projector[-1]:
            raise ValueError(
                f"predictor must end in the projector's size {self.projector[-1]}, got {list(self.predictor)}"
            )
        super().__post_init__(**kwargs)

    @classmethod
    def from_encoder(cls, encoder_config: PreTrainedConfig, **fields: Any) -> Self:
        """Make the config of a pre-training network around an encoder's config."""
        return cls(encoder=encoder_config.to_diff_dict(), **fields)


AutoConfig.register("siamese", SiameseConfig)
