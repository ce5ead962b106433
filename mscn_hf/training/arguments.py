# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""The fields of a recipe: what is read, which network and loss, and transformers' TrainingArguments."""

import logging
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import TrainingArguments

from mscn_hf.data import ImageSource, open_source
from mscn_hf.methods.configuration import SiameseConfig
from mscn_hf.models import MSCNConfig, ReLICv2Config

logger = logging.getLogger(__name__)

ENCODERS = {"mscn": MSCNConfig, "relicv2": ReLICv2Config}


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
        default="train", metadata={"help": "Split to pre-train on; labels are never used for it."}
    )
    test_split: str | None = field(
        default=None, metadata={"help": "Split on which the final probes are scored once; none: no final probes."}
    )
    image_column: str | None = field(default=None, metadata={"help": "Found by its type where not given."})
    label_column: str | None = field(default=None, metadata={"help": "Only for probes; found by usual names."})
    canvas_size: int = field(default=512, metadata={"help": "Side in pixels of the uint8 square that workers fill."})
    window_mb: int = field(
        default=1024,
        metadata={"help": "Undecoded megabytes a process holds to shuffle; a source that fits is permuted whole."},
    )
    samples_per_epoch: int | None = field(
        default=None, metadata={"help": "Length of a pass, only for remote sources that tell no row count."}
    )
    max_broken_share: float = field(
        default=0.01, metadata={"help": "The run ends when more than this share of the images cannot be decoded."}
    )

    def __post_init__(self) -> None:
        if not 0.0 <= self.max_broken_share <= 1.0:
            raise ValueError(f"max_broken_share must lie in [0, 1], got {self.max_broken_share}")
        for name in ("canvas_size", "window_mb"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")

    def open(self, split: str) -> ImageSource:
        """One split of the dataset; raises SourceError."""
        return open_source(
            self.dataset_name,
            config_name=self.dataset_config_name,
            split=split,
            image_column=self.image_column,
            label_column=self.label_column,
            revision=self.dataset_revision,
        )


@dataclass
class ModelArguments:
    """The encoder that is published, and the heads and loss that train it."""

    method: str = field(default="mscn_simclr", metadata={"help": "Name of the method, for the card and the folder."})
    model_type: str = field(default="mscn", metadata={"help": "Class of the encoder: mscn or relicv2."})
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
        default=None, metadata={"help": "Further fields of the encoder's config, such as hidden_sizes."}
    )
    objective: str = field(default="info_nce", metadata={"help": "Loss: info_nce or byol."})
    objective_params: dict[str, Any] | str | None = field(default=None, metadata={"help": "The loss's own settings."})
    projector: list[int] = field(default_factory=lambda: [2048, 256], metadata={"help": "Layer sizes."})
    projector_last_bn: bool = field(default=True, metadata={"help": "Batch norm on the projector's output."})
    predictor: list[int] | None = field(default=None, metadata={"help": "Layer sizes of the online network's head."})
    ema: float | None = field(default=None, metadata={"help": "Rate at which the moving-average target starts."})
    pairing: str = field(default="first", metadata={"help": "Pairs of views: all, or the first with each other one."})

    def encoder_config(self, image_mean: tuple[float, ...], image_std: tuple[float, ...]) -> Any:
        """The encoder's config; raises ValueError for a wrong type, depth or width."""
        if self.model_type not in ENCODERS:
            raise ValueError(f"model_type must be one of {sorted(ENCODERS)}, got {self.model_type!r}")
        return ENCODERS[self.model_type].resnet(
            self.depth,
            self.width,
            stem=self.stem,
            padding=self.padding,
            high_pass_sigma=self.high_pass_sigma,
            image_size=self.image_size,
            crop_ratio=self.crop_ratio,
            image_mean=list(image_mean),
            image_std=list(image_std),
            **dict(self.encoder_fields or {}),  # type: ignore[arg-type]
        )

    def siamese_config(self, encoder_config: Any) -> SiameseConfig:
        """The pre-training network's config around an encoder's."""
        return SiameseConfig.from_encoder(
            encoder_config,
            objective=self.objective,
            objective_params=dict(self.objective_params or {}),  # type: ignore[arg-type]
            projector=list(self.projector),
            projector_last_bn=self.projector_last_bn,
            predictor=list(self.predictor) if self.predictor else None,
            ema=self.ema,
            pairing=self.pairing,
        )


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
    ema_schedule: str = field(default="cosine", metadata={"help": "Target's rate: cosine to 1, or constant."})
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
        default_factory=list, metadata={"help": "Scored beside the encoder: random (same network), pixels."}
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
        if self.ema_schedule not in ("cosine", "constant"):
            raise ValueError(f"ema_schedule must be cosine or constant, got {self.ema_schedule!r}")
        for name in ("warmup_epochs", "monitor_epochs"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        unknown = set(self.baselines) - {"random", "pixels"}
        if unknown:
            raise ValueError(f"baselines may name random and pixels, got {sorted(unknown)}")
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
