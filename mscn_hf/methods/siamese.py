# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""One class pre-trains every method: encoder, heads, moving-average target and objective, put together by a config."""

import copy
import inspect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel
from transformers import initialization as init
from transformers.utils import ModelOutput

from mscn_hf.methods.configuration import MSCN_FIELDS, SiameseConfig
from mscn_hf.methods.heads import Predictor, mlp
from mscn_hf.methods.objectives import ViewEmbeddings, build_objective, view_pairs
from mscn_hf.methods.target import copy_weights, ema_update
from mscn_hf.models import MSCNConfig


@dataclass
class SiameseOutput(ModelOutput):
    """Output of `SiameseForPreTraining`.

    Attributes:
        loss: scalar; the mean over processes is the loss of the joined batch.
        embeddings: for each view the encoder's pooled features (B, F), detached.
        losses: the objective's named terms, detached scalars.
    """

    loss: Tensor | None = None
    embeddings: tuple[Tensor, ...] | None = None
    losses: dict[str, Tensor] | None = None


class SiameseForPreTraining(PreTrainedModel):
    """Views in, loss out.

    Every view is encoded once, in a forward pass of its own, so that batch norm never mixes the statistics of two
    views, and its embedding serves all pairs. The target network encodes each of its views once, without gradient.

    Attributes:
        encoder: the network that is published; called past its high-pass filter, since the views were filtered
            before they were masked.
        projector: (B, F) -> (B, D).
        predictor: (B, D) and the number of the view -> (B, D), or None.
        target_encoder, target_projector: their moving averages, or None; no gradient, never in an optimizer, and in
            every checkpoint, so that a run resumes exactly.
    """

    config: SiameseConfig
    base_model_prefix = "encoder"
    # Not "views": Trainer counts operations by calling .numel() on this input, and views are a list.
    main_input_name = "pixel_values"
    # The loss is a mean over the micro-batch; Trainer then divides by the accumulation steps.
    accepts_loss_kwargs = False

    def __init__(self, config: SiameseConfig) -> None:
        super().__init__(config)
        self.encoder = _build_encoder(config)
        self._encoder_options = (
            {"apply_filter": False} if "apply_filter" in inspect.signature(self.encoder.forward).parameters else {}
        )
        self.projector = mlp(_feature_size(self.encoder), config.projector, config.projector_last_bn)
        self.predictor: Predictor | None = None
        if config.predictor is not None:
            self.predictor = Predictor(config.projector[-1], config.predictor, config.predictor_of_view)
        self.target_encoder: PreTrainedModel | None = None
        self.target_projector: nn.Sequential | None = None
        if config.ema is not None:
            self.target_encoder = copy.deepcopy(self.encoder).requires_grad_(False)
            self.target_projector = copy.deepcopy(self.projector).requires_grad_(False)
        self.objective = build_objective(config.objective, config.objective_params or {})
        self._has_batch_norm = any("BatchNorm" in type(module).__name__ for module in self.modules())
        self.post_init()
        # post_init draws new weights for both projectors, so the target is made equal only now.
        self.reset_target()

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> Any:
        """Load a network as `PreTrainedModel.from_pretrained` does, the target's weights frozen again.

        transformers puts new parameters in place of those of `__init__`, and all of them require gradients.
        """
        loaded = super().from_pretrained(*args, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        for network in (model.target_encoder, model.target_projector):
            if network is not None:
                network.requires_grad_(False)
        return loaded

    @classmethod
    def from_encoder(cls, encoder_config: PreTrainedConfig, **fields: Any) -> Self:
        """Build a network with new weights around an encoder's config; `fields` are those of `SiameseConfig`."""
        return cls(SiameseConfig.from_encoder(encoder_config, **fields))

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        # Linear layers start as torch makes them, as in the encoders (transformers' default is N(0, 0.02)).
        super()._init_weights(module)
        if isinstance(module, nn.Linear):
            init.kaiming_uniform_(module.weight, a=math.sqrt(5))

    def forward(self, views: Sequence[Tensor]) -> SiameseOutput:
        """Encode the views and compare them.

        Args:
            views: V tensors (B, C, H, W); B is the same for all, H and W may differ between views.

        Raises:
            ValueError: for fewer than two views, for batches of different sizes, or in training mode with batch norm
                for a batch of one image.
        """
        pairs = view_pairs(len(views), self.config.pairing)
        self._check(views)
        features = [self._features(self.encoder, images_BCHW) for images_BCHW in views]
        embeddings = ViewEmbeddings(
            online=tuple(self._online(index, features_BF) for index, features_BF in enumerate(features)),
            target=self._target(views),
            pairs=pairs,
        )
        losses = self.objective(embeddings)
        return SiameseOutput(
            loss=torch.stack(list(losses.values())).sum(),
            embeddings=tuple(features_BF.detach() for features_BF in features),
            losses={name: term.detach() for name, term in losses.items()},
        )

    def reset_target(self) -> None:
        """Make the target network equal to the online one, buffers included; call it after loading encoder weights."""
        if self.target_encoder is not None and self.target_projector is not None:
            copy_weights(self.target_encoder, self.encoder)
            copy_weights(self.target_projector, self.projector)

    def update_target(self, rate: float) -> None:
        """Move the target's parameters: `rate * target + (1 - rate) * online`. Its buffers are left alone.

        Raises:
            ValueError: without a target network, or if `rate` lies outside [0, 1].
        """
        if self.target_encoder is None or self.target_projector is None:
            raise ValueError(f"objective {self.config.objective!r} has no target network to update")
        ema_update(
            [*self.target_encoder.parameters(), *self.target_projector.parameters()],
            [*self.encoder.parameters(), *self.projector.parameters()],
            rate,
        )

    def _features(self, encoder: PreTrainedModel, images_BCHW: Tensor) -> Tensor:
        return encoder(images_BCHW, **self._encoder_options).pooler_output.flatten(start_dim=1)

    def _online(self, view: int, features_BF: Tensor) -> Tensor:
        z_BD = self.projector(features_BF)
        return z_BD if self.predictor is None else self.predictor(z_BD, view)

    @torch.no_grad()
    def _target(self, views: Sequence[Tensor]) -> tuple[Tensor | None, ...]:
        if self.target_encoder is None or self.target_projector is None:
            return (None,) * len(views)
        wanted = range(len(views)) if self.config.target_views is None else self.config.target_views
        return tuple(
            self.target_projector(self._features(self.target_encoder, images_BCHW)) if index in wanted else None
            for index, images_BCHW in enumerate(views)
        )

    def _check(self, views: Sequence[Tensor]) -> None:
        sizes = [images_BCHW.shape[0] for images_BCHW in views]
        if any(size != sizes[0] for size in sizes):
            raise ValueError(f"every view must hold the same images, got batches of {sizes}")
        if self.training and self._has_batch_norm and sizes[0] < 2:
            raise ValueError(
                f"training with batch norm needs a batch size of at least 2 on each process, got {sizes[0]}; "
                "raise per_device_train_batch_size"
            )
        which = self.config.predictor_of_view
        if which is not None and len(which) != len(views):
            raise ValueError(f"predictor_of_view names predictors for {len(which)} views, got {len(views)} views")


class MSCNForPreTraining(SiameseForPreTraining):
    """Masked Siamese ConvNet pre-training (Jing et al. 2022) with the paper's heads and pairs (view 0, view k)."""

    @classmethod
    def from_encoder(
        cls, encoder_config: PreTrainedConfig | None = None, objective: str = "info_nce", **fields: Any
    ) -> Self:
        """Build a network with new weights.

        Args:
            encoder_config: the encoder; None: the paper's ResNet-50 behind a high-pass filter.
            objective: "info_nce" (MSCN-SimCLR) or "byol" (MSCN-BYOL).
            fields: `SiameseConfig` fields that differ from `MSCN_FIELDS`.
        """
        if objective not in MSCN_FIELDS:
            raise ValueError(f"MSCN's objective is one of {', '.join(MSCN_FIELDS)}, got {objective!r}")
        if encoder_config is None:
            encoder_config = MSCNConfig.resnet(50)
        return super().from_encoder(encoder_config, objective=objective, **{**MSCN_FIELDS[objective], **fields})


def _build_encoder(config: SiameseConfig) -> PreTrainedModel:
    """Build the encoder of a config with new weights."""
    fields = dict(config.encoder or {})
    model_type = fields.pop("model_type", None)
    if model_type is None:
        raise ValueError(f"encoder must be an encoder config's to_dict() with its model_type, got {config.encoder}")
    # dtype: the encoder takes that of the network around it.
    fields.pop("dtype", None)
    return AutoModel.from_config(AutoConfig.for_model(model_type, **fields))


def _feature_size(encoder: PreTrainedModel) -> int:
    """Return the size F of the encoder's pooled features, under the names that transformers' configs use."""
    config = encoder.config
    if getattr(config, "hidden_sizes", None):
        return config.hidden_sizes[-1]
    for name in ("hidden_size", "hidden_dim", "num_features"):
        if isinstance(getattr(config, name, None), int):
            return getattr(config, name)
    raise ValueError(
        f"cannot tell the feature size of a {config.model_type!r} encoder: its config has no hidden_sizes, "
        "hidden_size, hidden_dim or num_features"
    )
