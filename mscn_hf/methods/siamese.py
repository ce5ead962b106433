# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""One class pre-trains every method: encoder, heads, moving-average target and objective, put together by a config."""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers import initialization as init
from transformers.utils import ModelOutput

from mscn_hf.methods.configuration import MSCN_FIELDS, RELICV2_FIELDS, SiameseConfig
from mscn_hf.methods.encoding import PooledEncoder, build_encoder, keep_patches
from mscn_hf.methods.gather import process_rank
from mscn_hf.methods.heads import Predictor, mlp
from mscn_hf.methods.objectives import Objective, ViewEmbeddings, build_objective, view_directions, view_pairs
from mscn_hf.methods.target import copy_weights, ema_update
from mscn_hf.models import MSCNConfig, ReLICv2Config
from mscn_hf.views.draws import Draws


@dataclass
class SiameseOutput(ModelOutput):
    """Output of `SiameseForPreTraining`.

    Attributes:
        loss: scalar; the mean over processes is the loss of the joined batch.
        embeddings: for each view that passed the online encoder its pooled features (B, F), detached.
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
        encoder: the online encoder; called past its high-pass filter, since the views were filtered before they were
            masked.
        projector: (B, F) -> (B, D).
        predictor: (B, D) and the number of the view -> (B, D), or None.
        target_encoder, target_projector: their moving averages, or None; no gradient, never in an optimizer, and in
            every checkpoint, so that a run resumes exactly.
        objective: the loss, with its parameters where it has any.
    """

    config: SiameseConfig
    base_model_prefix = "encoder"
    # Not "views": Trainer counts operations by calling .numel() on this input, and views are a list.
    main_input_name = "pixel_values"
    # The loss is a mean over the micro-batch; Trainer then divides by the accumulation steps.
    accepts_loss_kwargs = False

    def __init__(self, config: SiameseConfig) -> None:
        super().__init__(config)
        self.encoder = build_encoder(config.encoder)
        self._pooled = PooledEncoder(self.encoder)
        self.projector = mlp(
            self._pooled.size,
            config.projector,
            config.projector_last_bn,
            config.projector_activation,
            config.projector_last_bias,
        )
        size = config.projector[-1] if config.projector else self._pooled.size
        self.predictor: Predictor | None = None
        if config.predictor is not None:
            self.predictor = Predictor(size, config.predictor, config.predictor_of_view)
        self.target_encoder: PreTrainedModel | None = None
        self.target_projector: nn.Sequential | None = None
        if config.ema is not None:
            self.target_encoder = copy.deepcopy(self.encoder).requires_grad_(False)
            self.target_projector = copy.deepcopy(self.projector).requires_grad_(False)
        compared = config.predictor[-1] if config.predictor else size
        self.objective = build_objective(config.objective, config.objective_params or {}, compared)
        self._has_batch_norm = any("BatchNorm" in type(module).__name__ for module in self.modules())
        self.post_init()
        # post_init draws new weights for both projectors, so the target is made equal only now.
        self.reset_target()

    @property
    def published_encoder(self) -> PreTrainedModel:
        """The network that users get: the online encoder, or the target's (`config.publish`)."""
        if self.config.publish == "target" and self.target_encoder is not None:
            return self.target_encoder
        return self.encoder

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
        if isinstance(module, Objective):
            module.reset_parameters()

    def forward(
        self,
        views: Sequence[Tensor],
        keys: Tensor | None = None,
        labels: Tensor | None = None,
        targets: Sequence[Tensor | None] | None = None,
        only: int | None = None,
    ) -> SiameseOutput:
        """Encode the views and compare them.

        Args:
            views: V tensors (B, C, H, W); B is the same for all, H and W may differ between views.
            keys: int64 (B,), what random choices (sampled negatives, dropped patches) depend on, from
                `Draws.keys_B`; None: the rows' numbers in the joined batch.
            labels: int64 (B,), for objectives that use labels.
            targets: what `encode_targets` gave for the same views; None: computed here.
            only: number of the one view that passes the online network in this call. The losses of one call for each
                of `online_views` add up to the loss, where the objective says `per_view`; each call's backward pass
                can then be done before the next call, so that one view's activations are held at a time.

        Raises:
            ValueError: for too few views, for batches of different sizes, for `only` with an objective that compares
                online views with one another, or in training mode with batch norm for a batch of one image.
        """
        self._check(views, only)
        batch = views[0].shape[0]
        if keys is None:
            keys = Draws(0, 0, torch.arange(batch) + process_rank() * batch).keys_B
        online_views = self.config.online_views_of(len(views))
        target_views = self.config.target_views_of(len(views))
        pairs = view_pairs(len(views), self.config.pairing, self.config.target_views)
        directions: tuple[tuple[int, int], ...] = ()
        if self.objective.uses_target:
            directions = view_directions(pairs, online_views, target_views, self.objective.self_pairs)
        encoded = online_views if only is None else (only,)
        features = {view: self._encode(view, views[view], keys) for view in encoded}
        embeddings = ViewEmbeddings(
            online=tuple(
                self._online(view, features[view]) if view in features else None for view in range(len(views))
            ),
            target=self.encode_targets(views) if targets is None else tuple(targets),
            pairs=pairs,
            directions=directions,
            keys=keys,
            labels=labels,
        )
        losses = self.objective(embeddings)
        return SiameseOutput(
            loss=torch.stack(list(losses.values())).sum(),
            embeddings=tuple(features_BF.detach() for features_BF in features.values()),
            losses={name: term.detach() for name, term in losses.items()},
        )

    @torch.no_grad()
    def encode_targets(self, views: Sequence[Tensor]) -> tuple[Tensor | None, ...]:
        """Return for each view its target embedding (B, D), or None where it does not pass a target network."""
        if self.target_encoder is None or self.target_projector is None:
            return (None,) * len(views)
        wanted = self.config.target_views_of(len(views))
        return tuple(
            self.target_projector(self._pooled(self.target_encoder, images_BCHW)) if index in wanted else None
            for index, images_BCHW in enumerate(views)
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

    def _encode(self, view: int, images_BCHW: Tensor, keys: Tensor) -> Tensor:
        kept_BK = None
        ratios = self.config.patch_drop
        if ratios is not None and ratios[view] > 0 and self.training:
            kept_BK = keep_patches(self.encoder, images_BCHW, ratios[view], keys, view)
        return self._pooled(self.encoder, images_BCHW, kept_BK)

    def _online(self, view: int, features_BF: Tensor) -> Tensor:
        z_BD = self.projector(features_BF)
        return z_BD if self.predictor is None else self.predictor(z_BD, view)

    def _check(self, views: Sequence[Tensor], only: int | None) -> None:
        fewest = self.objective.fewest_views
        if len(views) < fewest:
            raise ValueError(f"{self.config.objective} needs at least {fewest} views of each image, got {len(views)}")
        sizes = [images_BCHW.shape[0] for images_BCHW in views]
        if any(size != sizes[0] for size in sizes):
            raise ValueError(f"every view must hold the same images, got batches of {sizes}")
        if self.training and self._has_batch_norm and sizes[0] < 2:
            raise ValueError(
                f"training with batch norm needs a batch size of at least 2 on each process, got {sizes[0]}; "
                "raise per_device_train_batch_size"
            )
        if only is not None and not self.objective.per_view:
            raise ValueError(
                f"the loss of {self.config.objective} compares online views with one another, so it cannot be "
                "computed for one of them alone"
            )
        for name in ("predictor_of_view", "patch_drop"):
            given = getattr(self.config, name)
            if given is not None and len(given) != len(views):
                raise ValueError(f"{name} has values for {len(given)} views, got {len(views)} views")
        for name in ("online_views", "target_views"):
            for view in getattr(self.config, name) or ():
                if not 0 <= view < len(views):
                    raise ValueError(f"{name} names view {view}, got {len(views)} views")


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


class ReLICv2ForPreTraining(SiameseForPreTraining):
    """ReLICv2 pre-training (Tomasev et al. 2022) with the paper's heads and views: large views come first."""

    @classmethod
    def from_encoder(cls, encoder_config: PreTrainedConfig | None = None, large_views: int = 4, **fields: Any) -> Self:
        """Build a network with new weights.

        Args:
            encoder_config: the encoder; None: the paper's ResNet-50.
            large_views: how many of the views are large; they come first and alone pass the target network. Views
                after them pass the online network only. ReLIC is `large_views=2` and no small views.
            fields: `SiameseConfig` fields that differ from `RELICV2_FIELDS`.
        """
        if large_views < 1:
            raise ValueError(f"large_views must be at least 1, got {large_views}")
        if encoder_config is None:
            encoder_config = ReLICv2Config.resnet(50)
        own = {**RELICV2_FIELDS, "target_views": list(range(large_views))}
        return super().from_encoder(encoder_config, **{**own, **fields})
