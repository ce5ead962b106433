# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""What a saliency network is trained with: fields of a YAML file or of the command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields

from transformers import HfArgumentParser

from mscn_hf.resources import list_resources
from mscn_hf.views.checks import WrongType, check, check_integer, check_number, nearest

from .recipe_file import is_none, read_document, split_words

# DeepUSPS' code: markov_chain, dense_sparse and robust_background; manifold_ranking, which ReLICv2 puts in the place
# of hierarchical saliency (0.36), has no published value.
_THRESHOLDS = {"robust_background": 0.25, "manifold_ranking": 0.25, "dense_sparse": 0.23, "markov_chain": 0.31}


@dataclass
class SaliencyArguments:
    """A run of both stages. Values are DeepUSPS' where the comment of a recipe does not say otherwise."""

    dataset_name: str = field(metadata={"help": "Dataset with a column for each cue, of `mscn-hf saliency cues`."})
    encoder: str = field(metadata={"help": "Self-supervised encoder to start from: folder or Hub id for AutoModel."})
    output_dir: str = field(metadata={"help": "Gets network/, log.jsonl and the refined maps."})
    dataset_config_name: str | None = field(default=None, metadata={"help": "Configuration of the dataset."})
    train_split: str = field(default="train", metadata={"help": "Split to train on."})
    cues: list[str] = field(default_factory=lambda: list(_THRESHOLDS), metadata={"help": "Columns of the cues' maps."})
    thresholds: list[float] = field(
        default_factory=list,
        metadata={"help": "Foreground of each cue's maps in the first iteration, by default DeepUSPS'; 0.5 later."},
    )
    max_images: int | None = field(default=2500, metadata={"help": "Random part of the split; null: all."})
    image_size: int = field(default=432, metadata={"help": "Side in pixels of the squares."})
    output_stride: int = field(default=8, metadata={"help": "How much coarser the encoder's last map is."})
    iterations: int = field(default=3, metadata={"help": "Rounds of stage 1; 0: none, and one threshold, the mean."})
    refine_epochs: int = field(default=25, metadata={"help": "Of each round of stage 1."})
    refine_lr: float = field(default=1e-6, metadata={"help": "Of the first round; doubled in each further one."})
    refine_beta_squared: float = field(default=1.0, metadata={"help": "Of the F-loss in stage 1."})
    final_epochs: int = field(default=200, metadata={"help": "Of stage 2."})
    final_lr: float = field(default=1e-4, metadata={"help": "Of stage 2."})
    final_beta_squared: float = field(default=4.0, metadata={"help": "Of the F-loss in stage 2."})
    average: float = field(default=0.7, metadata={"help": "Share of the past in the moving average of predictions."})
    crf: bool = field(default=True, metadata={"help": "Clean predictions by a CRF before they are averaged."})
    per_device_train_batch_size: int = field(default=10, metadata={"help": "Images a device and step."})
    dataloader_num_workers: int = field(default=0, metadata={"help": "Processes that read the memory maps."})
    bf16: bool = field(default=False, metadata={"help": "bfloat16 autocast."})
    seed: int = field(default=0, metadata={"help": "Of the draw of images, the head and the order."})

    def __post_init__(self) -> None:
        for name in ("dataset_name", "encoder", "output_dir", "train_split"):
            if not isinstance(getattr(self, name), str) or not getattr(self, name):
                raise WrongType(f"{name} must be text, got {getattr(self, name)!r}")
        for name in ("image_size", "output_stride", "refine_epochs", "final_epochs", "per_device_train_batch_size"):
            check_integer(name, getattr(self, name))
        if self.max_images is not None:
            check_integer("max_images", self.max_images)
        if self.iterations != 0:
            check_integer("iterations", self.iterations)
        for name in ("refine_lr", "final_lr", "refine_beta_squared", "final_beta_squared"):
            check_number(name, getattr(self, name))
            check(getattr(self, name) > 0, f"{name} must be positive", getattr(self, name))
        check_number("average", self.average)
        check(0 <= self.average < 1, "average must lie in [0, 1)", self.average)
        if self.iterations and 1 - self.average**self.refine_epochs <= 0.5:
            raise ValueError(
                f"average {self.average} over refine_epochs {self.refine_epochs} never exceeds 0.5, the threshold of "
                "what was refined: no image would have any foreground"
            )
        for name in ("crf", "bf16"):
            if not isinstance(getattr(self, name), bool):
                raise WrongType(f"{name} must be true or false, got {getattr(self, name)!r}")
        self._check_cues()

    def _check_cues(self) -> None:
        for name, kind in (("cues", str), ("thresholds", float | int)):
            values = getattr(self, name)
            if not isinstance(values, list) or not all(isinstance(value, kind) for value in values):
                raise WrongType(f"{name} must be a list, one value for each cue, got {values!r}")
        if not self.thresholds:
            unknown = [cue for cue in self.cues if cue not in _THRESHOLDS]
            if unknown:
                raise ValueError(f"there is no usual threshold of {unknown[0]!r}: give thresholds, one for each cue")
            self.thresholds = [_THRESHOLDS[cue] for cue in self.cues]
        if len(self.cues) != len(self.thresholds) or not self.cues:
            raise ValueError(f"{len(self.cues)} cues have {len(self.thresholds)} thresholds: give one for each")
        if len(set(self.cues)) != len(self.cues):
            raise ValueError(f"cues name one twice: {', '.join(self.cues)}")
        if not all(0 < threshold < 1 for threshold in self.thresholds):
            raise ValueError(f"thresholds must lie in (0, 1), got {self.thresholds}")


_FIELDS = [known.name for known in fields(SaliencyArguments)]
# Now, because HfArgumentParser rewrites the types of the fields it has seen.
_OPTIONAL = [known.name for known in fields(SaliencyArguments) if "None" in str(known.type)]


def parse(words: Sequence[str]) -> SaliencyArguments:
    """Arguments from `--config FILE`, a path or a name that ships here, and `--field value`, which wins.

    Raises:
        ValueError: a key that is not known, or a value that does not fit.
        FileNotFoundError: no such file.
    """
    parser = HfArgumentParser(SaliencyArguments, prog="mscn-hf saliency train", allow_abbrev=False)  # type: ignore[arg-type]
    if {"-h", "--help"} & set(words):
        parser.add_argument("--config", help=f"YAML file, or one of {', '.join(list_resources('saliency'))}")
        parser.parse_args(["--help"])
    config, overrides = split_words(words)
    document = read_document("saliency", config) if config else {}
    given = [(key.replace("-", "_"), values) for key, values in overrides]
    options = [option.removeprefix("--") for action in parser._actions for option in action.option_strings]
    for known, names, where in (
        (_FIELDS, list(document), f"in {config}"),
        (options, [name for name, _ in given], "on the command line"),
    ):
        for name in names:
            if name not in known:
                raise ValueError(f"unknown field {name!r} {where}{nearest(str(name), known)}")
    flags: list[str] = []
    for name, values in given:
        if name in _OPTIONAL and is_none(values):
            document[name] = None
        else:
            flags += [f"--{name}", *values]
    parser.set_defaults(**document)
    for action in parser._actions:
        if action.dest in document:
            action.required = False
    return parser.parse_args_into_dataclasses(flags)[0]
