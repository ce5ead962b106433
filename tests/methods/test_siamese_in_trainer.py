# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""The network inside transformers' Trainer."""

from pathlib import Path

import pytest
import torch
from transformers import Trainer, TrainingArguments

from mscn_hf.methods import SiameseForPreTraining


def collate(records: list[dict]) -> dict[str, list[torch.Tensor]]:
    images = torch.stack([record["image"] for record in records])
    return {"views": [images, images.flip(-1), images + 0.1]}


def train(encoder_config, folder: Path, accumulation: int = 1, bf16: bool = False) -> torch.Tensor:
    torch.manual_seed(0)
    model = SiameseForPreTraining.from_encoder(encoder_config, projector=[16, 6])
    images = torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=2,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=accumulation,
        remove_unused_columns=False,
        report_to="none",
        save_strategy="no",
        logging_steps=1,
        disable_tqdm=True,
        use_cpu=True,
        bf16=bf16,
        dataloader_num_workers=0,
    )
    trainer = Trainer(model=model, args=arguments, data_collator=collate, train_dataset=[{"image": x} for x in images])
    before = {name: value.clone() for name, value in model.state_dict().items()}
    trainer.train()
    assert any(not torch.equal(value, before[name]) for name, value in model.named_parameters())
    return torch.tensor([entry["loss"] for entry in trainer.state.log_history if "loss" in entry])


def test_trains_and_reports_the_mean_loss(encoder_config, tmp_path: Path) -> None:
    once = train(encoder_config, tmp_path / "once")
    assert torch.isfinite(once).all()
    # A loss summed over micro-batches instead of averaged would be about twice as large.
    twice = train(encoder_config, tmp_path / "twice", accumulation=2)
    assert twice[0].item() == pytest.approx(once[0].item(), rel=0.3)


def test_trains_in_bfloat16(encoder_config, tmp_path: Path) -> None:
    full = train(encoder_config, tmp_path / "float32")
    half = train(encoder_config, tmp_path / "bfloat16", bf16=True)
    assert not torch.equal(full, half)
    assert half[0].item() == pytest.approx(full[0].item(), rel=0.1)
