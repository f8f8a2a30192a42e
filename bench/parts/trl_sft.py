"""The side of bench `train-gpu` that is TRL's: a program for an environment that has `trl`, and
knows nothing of driftgate.

    python trl_sft.py FOLDER

reads FOLDER/job.json (base, pairs of token ids, settings) and writes FOLDER/took.json: wall seconds
from loading the base to the adapter on disk, and the memory that the card held at most, MiB.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any


def main(folder: Path) -> None:
    import torch
    from datasets import Dataset
    from peft import LoraConfig, prepare_model_for_kbit_training
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig, set_seed
    from trl import SFTConfig, SFTTrainer

    job: dict[str, Any] = json.loads((folder / "job.json").read_text())
    on_gpu = torch.cuda.is_available()
    set_seed(job["seed"])
    begun = time.perf_counter()
    model = AutoModelForCausalLM.from_pretrained(
        job["base"],
        dtype=torch.bfloat16,
        device_map="cuda" if on_gpu else "cpu",
        quantization_config=BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        ),
    )
    model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    arguments = SFTConfig(
        output_dir=str(folder / "trl"),
        num_train_epochs=job["epochs"],
        per_device_train_batch_size=job["batch_size"],
        learning_rate=job["learning_rate"],
        weight_decay=job["weight_decay"],
        max_grad_norm=job["max_grad_norm"],
        lr_scheduler_type="linear",
        warmup_steps=0.1,
        bf16=on_gpu,
        use_cpu=not on_gpu,
        max_length=None,
        completion_only_loss=True,
        gradient_checkpointing=False,
        seed=job["seed"],
        report_to=[],
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
    )
    lora = LoraConfig(
        task_type="CAUSAL_LM",
        r=job["r"],
        lora_alpha=job["alpha"],
        lora_dropout=0.0,
        target_modules="all-linear",
    )
    trainer = SFTTrainer(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_list(job["rows"]),
        processing_class=AutoTokenizer.from_pretrained(job["base"]),
        peft_config=lora,
    )
    trainer.train()
    trainer.model.save_pretrained(folder / "trl")
    took = time.perf_counter() - begun
    memory = torch.cuda.max_memory_allocated() / 2**20 if on_gpu else 0.0
    (folder / "took.json").write_text(json.dumps({"seconds": took, "memory": memory}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
