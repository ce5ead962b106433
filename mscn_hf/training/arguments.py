# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""The fields of a recipe: what is read, which network and loss, and transformers' TrainingArguments."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import TrainingArguments, ViTMSNConfig

from mscn_hf.data import ImageSource, open_source
from mscn_hf.methods.configuration import SiameseConfig
from mscn_hf.models import FilteredConfig, MSCNConfig, ReLICv2Config
from mscn_hf.models.preprocessing import preprocessor_dict
from mscn_hf.views.recipe import ViewRecipe

logger = logging.getLogger(__name__)

ENCODERS: dict[str, Any] = {
    "mscn": MSCNConfig,
    "relicv2": ReLICv2Config,
    "filtered": FilteredConfig,
    "vit_msn": ViTMSNConfig,
}
# Fields of a recipe that become fields of the encoder's config.
_RESNET_FIELDS = ("depth", "width", "stem", "padding")
_EVALUATION_FIELDS = ("image_size", "crop_ratio", "image_mean", "image_std", "high_pass_sigma")


@dataclass
class DataArguments:
    """Which images, and how they are read."""

    dataset_name: str = field(
        default="embedded",
        metadata={"help": "Hub id, local folder (Parquet, webdataset tars, images), one file, or 'embedded'."},
    )
    dataset_config_name: str | None = field(default=None, metadata={"help": "Configuration of the dataset."})
    dataset_revision: str | None = field(default=None, metadata={"help": "Commit, tag or branch on the Hub."})
    train_split: str = field(
        default="train", metadata={"help": "Split to train on; its labels are used by objective cross_entropy only."}
    )
    test_split: str | None = field(
        default=None, metadata={"help": "Split on which the final probes are scored once; none: no final probes."}
    )
    image_column: str | None = field(default=None, metadata={"help": "Found by its type where not given."})
    label_column: str | None = field(
        default=None, metadata={"help": "For probes and cross_entropy; found by usual names."}
    )
    canvas_size: int = field(default=512, metadata={"help": "Side in pixels of the uint8 square that workers fill."})
    window_mb: int = field(
        default=1024,
        metadata={"help": "Undecoded megabytes a process holds to shuffle; a source that fits is permuted whole."},
    )
    samples_per_epoch: int | None = field(
        default=None, metadata={"help": "Length of a pass, only for remote sources that tell no row count."}
    )
    max_broken_share: float = field(
        default=0.01,
        metadata={"help": "The run ends when more than this share of images, or of masks, cannot be decoded."},
    )

    def __post_init__(self) -> None:
        if not 0.0 <= self.max_broken_share <= 1.0:
            raise ValueError(f"max_broken_share must lie in [0, 1], got {self.max_broken_share}")
        for name in ("canvas_size", "window_mb"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")

    def open(self, split: str, mask_column: str | None = None) -> ImageSource:
        """One split of the dataset, with a column of saliency masks where it is named; raises SourceError."""
        return open_source(
            self.dataset_name,
            config_name=self.dataset_config_name,
            split=split,
            image_column=self.image_column,
            label_column=self.label_column,
            revision=self.dataset_revision,
            mask_column=mask_column,
        )


@dataclass
class ModelArguments:
    """The encoder that is published, and the heads and loss that train it."""

    method: str = field(default="mscn_simclr", metadata={"help": "Name of the method, for the card and the folder."})
    model_type: str = field(
        default="mscn",
        metadata={"help": "Class of the encoder: mscn, relicv2, filtered (any timm network) or vit_msn."},
    )
    architecture: str | None = field(default=None, metadata={"help": "timm's name of the network, for filtered."})
    depth: int = field(default=50, metadata={"help": "ResNet depth: 18, 34, 50, 101, 152 or 200."})
    width: int = field(default=1, metadata={"help": "Width multiplier of every layer: 1, 2 or 4."})
    stem: str = field(default="imagenet", metadata={"help": "imagenet (7x7 stride 2, max-pool) or small (3x3)."})
    padding: str = field(default="symmetric", metadata={"help": "symmetric (torch) or same (TensorFlow, Haiku)."})
    high_pass_sigma: float | None = field(
        default=None, metadata={"help": "The encoder's own input filter in pixels; must equal that of the views."}
    )
    image_size: int = field(default=224, metadata={"help": "Crop on which the published encoder is evaluated."})
    crop_ratio: float = field(default=0.875, metadata={"help": "Evaluation crop divided by the resized shorter side."})
    encoder_fields: dict[str, Any] | str | None = field(
        default=None, metadata={"help": "More fields of the encoder's config, or of timm.create_model for filtered."}
    )
    objective: str = field(
        default="info_nce",
        metadata={"help": "Loss: info_nce, byol, relic, msn, vicreg, barlow_twins or cross_entropy (supervised)."},
    )
    objective_params: dict[str, Any] | str | None = field(default=None, metadata={"help": "The loss's own settings."})
    projector: list[int] = field(default_factory=lambda: [2048, 256], metadata={"help": "Layer sizes."})
    projector_last_bn: bool = field(default=True, metadata={"help": "Batch norm on the projector's output."})
    predictor: list[int] | None = field(default=None, metadata={"help": "Layer sizes of the online network's head."})
    ema: float | None = field(default=None, metadata={"help": "Rate at which the moving-average target starts."})
    pairing: str = field(default="first", metadata={"help": "Pairs of views: all, or the first with each other one."})
    projector_activation: str = field(default="relu", metadata={"help": "relu or gelu."})
    projector_last_bias: bool = field(default=False, metadata={"help": "A bias in the projector's last layer."})
    online_views: list[str] | None = field(
        default=None, metadata={"help": "Names of the views that pass the online network; none: all."}
    )
    target_views: list[str] | None = field(
        default=None,
        metadata={"help": "Names of the views that are targets: each pair has one of them; none: all."},
    )
    predictor_of_view: dict[str, int] | str | None = field(
        default=None, metadata={"help": "For each view's name the number of its predictor; none: one for all."}
    )
    patch_drop: dict[str, float] | str | None = field(
        default=None, metadata={"help": "For a view's name the share of patches that a ViT does not see."}
    )
    publish: str = field(default="online", metadata={"help": "Encoder that is published: online or target."})

    def encoder_config(self, image_mean: tuple[float, ...], image_std: tuple[float, ...]) -> Any:
        """The encoder's config; raises ValueError for a wrong type, depth, width or architecture."""
        if self.model_type not in ENCODERS:
            raise ValueError(f"model_type must be one of {', '.join(ENCODERS)}, got {self.model_type!r}")
        if (self.architecture is None) == (self.model_type == "filtered"):
            raise ValueError(
                f"architecture is timm's name of a network for model_type filtered, and for it only; "
                f"got {self.architecture!r} for {self.model_type!r}"
            )
        fields = dict(self.encoder_fields or {})  # type: ignore[arg-type]
        self._refuse_ignored(fields)
        evaluation = {
            "image_size": self.image_size,
            "crop_ratio": self.crop_ratio,
            "image_mean": list(image_mean),
            "image_std": list(image_std),
        }
        if self.model_type == "vit_msn":
            if self.high_pass_sigma is not None:
                raise ValueError("a native vit_msn has no high-pass filter: leave out high_pass_sigma")
            return ViTMSNConfig(**{"image_size": self.image_size, **fields})
        if self.model_type == "filtered":
            return FilteredConfig.from_timm(
                str(self.architecture), fields, high_pass_sigma=self.high_pass_sigma, **evaluation
            )
        return ENCODERS[self.model_type].resnet(
            self.depth,
            self.width,
            stem=self.stem,
            padding=self.padding,
            high_pass_sigma=self.high_pass_sigma,
            **evaluation,
            **fields,
        )

    def _refuse_ignored(self, encoder_fields: dict[str, Any]) -> None:
        """Settings that this type of encoder would ignore, or that are given in two places."""
        resnet = self.model_type in ("mscn", "relicv2")
        for name in _RESNET_FIELDS if not resnet else ():
            value, default = getattr(self, name), getattr(type(self), name)
            if value != default:
                raise ValueError(
                    f"{name} {value!r} is for ResNets, and model_type is {self.model_type!r}: leave it out"
                )
        for name in (*_EVALUATION_FIELDS, *(_RESNET_FIELDS if resnet else ())):
            if name in encoder_fields:
                raise ValueError(f"encoder_fields names {name!r}, which is a field of the recipe itself: set it there")

    def preprocessor(self, image_mean: tuple[float, ...], image_std: tuple[float, ...]) -> dict[str, Any]:
        """The published encoder's preprocessor_config.json."""
        return preprocessor_dict(self.image_size, self.crop_ratio, image_mean, image_std)

    def siamese_config(self, encoder_config: Any, views: ViewRecipe) -> SiameseConfig:
        """The pre-training network's config around an encoder's; raises ValueError for an unknown view."""
        names = [name for name, _, _ in views.expand()]
        return SiameseConfig.from_encoder(
            encoder_config,
            objective=self.objective,
            objective_params=dict(self.objective_params or {}),  # type: ignore[arg-type]
            projector=list(self.projector),
            projector_last_bn=self.projector_last_bn,
            projector_activation=self.projector_activation,
            projector_last_bias=self.projector_last_bias,
            predictor=list(self.predictor) if self.predictor else None,
            predictor_of_view=_of_views("predictor_of_view", self.predictor_of_view, names, None),
            ema=self.ema,
            online_views=_numbers("online_views", self.online_views, names),
            target_views=_numbers("target_views", self.target_views, names),
            pairing=self.pairing,
            patch_drop=_of_views("patch_drop", self.patch_drop, names, 0.0),
            publish=self.publish,
        )


def _numbers(field_name: str, chosen: list[str] | None, names: list[str]) -> list[int] | None:
    """Numbers of the expanded views whose names are given."""
    if chosen is None:
        return None
    _known_views(field_name, chosen, names)
    return [number for number, name in enumerate(names) if name in chosen]


def _of_views(field_name: str, values: Any, names: list[str], default: Any) -> list[Any] | None:
    """A value for each expanded view, from values by name."""
    if values is None:
        return None
    _known_views(field_name, values, names)
    left_out = sorted(set(names) - set(values))
    if left_out and default is None:
        raise ValueError(f"{field_name} must name every view, {', '.join(left_out)} is left out")
    return [values.get(name, default) for name in names]


def _known_views(field_name: str, chosen: Iterable[str], names: list[str]) -> None:
    unknown = sorted(set(chosen) - set(names))
    if unknown:
        raise ValueError(f"{field_name} names view {unknown[0]!r}; the recipe has {', '.join(dict.fromkeys(names))}")


@dataclass
class PretrainingArguments(TrainingArguments):
    """transformers' TrainingArguments with this project's defaults, and what self-supervised training adds."""

    _VALID_DICT_FIELDS = [*TrainingArguments._VALID_DICT_FIELDS]

    optimizer: str = field(default="lars", metadata={"help": "lars, sgd, adamw, or trainer: as --optim says."})
    base_learning_rate: float | None = field(
        default=None,
        metadata={"help": "Learning rate for a batch of 256; it grows with the batch over all processes."},
    )
    momentum: float = field(default=0.9, metadata={"help": "Momentum of lars and sgd, first beta of adamw."})
    trust_coefficient: float = field(default=1e-3, metadata={"help": "LARS's eta."})
    warmup_epochs: float = field(default=10.0, metadata={"help": "Passes of linear warm-up before the cosine."})
    ema_schedule: str = field(
        default="cosine", metadata={"help": "Target's rate: cosine or linear to 1, or constant."}
    )
    schedule_stretch: float = field(
        default=1.0, metadata={"help": "Schedules are this much longer than training, which cuts them off (MSN 1.25)."}
    )
    lr_start_ratio: float = field(default=0.0, metadata={"help": "Learning rate at the first step / at its peak."})
    lr_end_ratio: float = field(default=0.0, metadata={"help": "Learning rate at the schedule's end / at its peak."})
    weight_decay_end: float | None = field(
        default=None, metadata={"help": "Weight decay at the schedule's end, along a cosine; none: it is constant."}
    )
    memory_flat: bool = field(
        default=False,
        metadata={"help": "Backward of each view before the next view's forward: same gradients, less memory."},
    )
    channels_last: bool = field(default=True, metadata={"help": "Memory format of the network."})
    sync_batch_norm: bool = field(default=True, metadata={"help": "Batch statistics over all processes, on CUDA."})
    fast_bf16: bool = field(
        default=False, metadata={"help": "bf16 where the device computes it natively, float32 elsewhere."}
    )
    num_threads: int | None = field(default=None, metadata={"help": "CPU threads of this process; torch decides."})
    resume: str | None = field(
        default=None, metadata={"help": "'auto': from the newest good checkpoint of output_dir; or a checkpoint."}
    )
    monitor_epochs: float = field(default=1.0, metadata={"help": "Passes between online k-NN scores; 0: never."})
    monitor_images: int = field(
        default=2000, metadata={"help": "Training images for the online k-NN, one half to look up, one half to ask."}
    )
    probes: list[str] = field(
        default_factory=lambda: ["knn", "linear"], metadata={"help": "Protocols for the final scores."}
    )
    baselines: list[str] = field(
        default_factory=list,
        metadata={"help": "Scored beside it: random (same network), unfiltered (same weights, no filter), pixels."},
    )
    record_samples: bool = field(default=False, metadata={"help": "Write the ids of consumed samples, step by step."})
    license: str = field(default="apache-2.0", metadata={"help": "Licence of the weights, for the card."})

    # Defaults of ours for fields of TrainingArguments.
    remove_unused_columns: bool = field(default=False, metadata={"help": "The batch is made for the views."})
    max_grad_norm: float = field(default=0.0, metadata={"help": "0: no clipping, as LARS wants it."})
    lr_scheduler_type: str = field(default="cosine", metadata={"help": "Learning-rate schedule after the warm-up."})
    ddp_find_unused_parameters: bool | None = field(default=False, metadata={"help": "Every parameter is used."})
    ignore_data_skip: bool = field(default=True, metadata={"help": "The loader finds its position by itself."})
    logging_nan_inf_filter: bool = field(default=False, metadata={"help": "A loss that is not finite ends the run."})
    save_total_limit: int | None = field(default=2, metadata={"help": "Checkpoints kept; at least 2."})
    logging_steps: float = field(default=10, metadata={"help": "Steps between two lines of the log."})
    per_device_eval_batch_size: int = field(default=64, metadata={"help": "Batch of the final probes' extraction."})
    ddp_timeout: int = field(default=43200, metadata={"help": "Seconds; the others wait while one fits a probe."})
    seed: int = field(default=0, metadata={"help": "Seed of weights, order and views."})

    def __post_init__(self) -> None:
        if self.save_total_limit is not None and self.save_total_limit < 2:
            # With one, the only good checkpoint would be deleted before the next is known to be good.
            raise ValueError(f"save_total_limit must be at least 2 or none, got {self.save_total_limit}")
        if not self.remove_unused_columns and not self.ignore_data_skip:
            raise ValueError("ignore_data_skip must stay true: the loader enters a pass at the exact sample by itself")
        if self.ema_schedule not in ("cosine", "linear", "constant"):
            raise ValueError(f"ema_schedule must be cosine, linear or constant, got {self.ema_schedule!r}")
        if self.schedule_stretch < 1:
            raise ValueError(f"schedule_stretch must be at least 1, got {self.schedule_stretch}")
        for name in ("lr_start_ratio", "lr_end_ratio"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in [0, 1], got {getattr(self, name)}")
        own_schedule = (self.lr_start_ratio, self.lr_end_ratio, self.schedule_stretch) != (0.0, 0.0, 1.0)
        if own_schedule and getattr(self.lr_scheduler_type, "value", self.lr_scheduler_type) != "cosine":
            raise ValueError(
                "lr_start_ratio, lr_end_ratio and schedule_stretch are for the cosine schedule, "
                f"got lr_scheduler_type {self.lr_scheduler_type!r}"
            )
        if self.weight_decay_end is not None and (self.weight_decay_end < 0 or self.weight_decay <= 0):
            raise ValueError(
                f"weight_decay_end {self.weight_decay_end} needs a positive weight_decay to begin with, and must not "
                f"be negative; weight_decay is {self.weight_decay}"
            )
        for name in ("warmup_epochs", "monitor_epochs"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        unknown = set(self.baselines) - {"random", "unfiltered", "pixels"}
        if unknown:
            raise ValueError(f"baselines may name random, unfiltered and pixels, got {sorted(unknown)}")
        for name in ("per_device_train_batch_size", "gradient_accumulation_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.max_steps <= 0 and self.num_train_epochs <= 0:
            raise ValueError(f"num_train_epochs must be positive, got {self.num_train_epochs}")
        if self.resume_from_checkpoint is not None:
            raise ValueError("resume_from_checkpoint is not read here: use resume, with 'auto' or a checkpoint")
        if not torch.accelerator.is_available():
            self.use_cpu = True
        if self.fast_bf16 and native_bf16(self.use_cpu):
            self.bf16 = True
        super().__post_init__()
        if self.n_gpu > 1:
            # Trainer would split each batch by DataParallel: other negatives, other batch statistics.
            logger.warning("one process uses one of the %d GPUs; `accelerate launch` uses them all", self.n_gpu)
            self._n_gpu = 1


def native_bf16(on_cpu: bool) -> bool:
    """Whether bfloat16 is computed by the hardware rather than emulated, which on a CPU is slower than float32."""
    if on_cpu:
        able = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
        return bool(able.get("avx512_bf16") or able.get("amx_bf16"))
    return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
