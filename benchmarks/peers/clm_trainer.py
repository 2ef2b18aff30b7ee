"""Continued pre-training as transformers' `run_clm` does it: documents one after the other, cut into equal blocks.

Every token of a block is real, and attention reaches across documents. All is at the Trainer's defaults but what the
options name, a constant learning rate and no writing of checkpoints.
"""

import argparse
import itertools
import json
import tempfile
from pathlib import Path

import torch
from common import Clock, losses_of, report
from datasets import Dataset
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PrinterCallback,
    Trainer,
    TrainingArguments,
    default_data_collator,
    set_seed,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="a transformers folder")
    parser.add_argument("--documents", type=Path, required=True, help="a JSON list of lists of texts")
    parser.add_argument("--batch", type=int, required=True, help="blocks")
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--warmup", type=int, required=True, help="steps that are not timed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lr", type=float, default=2e-4)
    parser.add_argument("--weights", choices=["float32", "bfloat16"], default="float32", help="how they are held")
    parser.add_argument("--bf16", action="store_true", help="autocast")
    parser.add_argument("--checkpointing", action="store_true", help="compute layers again in the backward pass")
    given = parser.parse_args()
    set_seed(given.seed)
    tokenizer = AutoTokenizer.from_pretrained(given.model, trust_remote_code=False)
    model = AutoModelForCausalLM.from_pretrained(
        given.model, attn_implementation="sdpa", dtype=getattr(torch, given.weights), trust_remote_code=False
    )
    texts = ["\n\n".join(parts) for parts in json.loads(given.documents.read_text("utf-8"))]
    wanted = given.batch * given.steps * given.context
    ids: list[int] = []
    for text in itertools.cycle(texts):
        ids += [*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
        if len(ids) >= wanted:
            break
    blocks = [ids[begin : begin + given.context] for begin in range(0, wanted, given.context)]
    clock = Clock()
    model.register_forward_pre_hook(
        clock.watch(lambda args, kwargs: torch.ones_like(kwargs["input_ids"])), with_kwargs=True
    )
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model=model,
            args=TrainingArguments(
                output_dir=folder,
                max_steps=given.steps,
                per_device_train_batch_size=given.batch,
                dataloader_pin_memory=False,
                learning_rate=given.lr,
                lr_scheduler_type="constant",
                bf16=given.bf16,
                gradient_checkpointing=given.checkpointing,
                use_cpu=not torch.cuda.is_available(),
                seed=given.seed,
                logging_steps=1,
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
            ),
            train_dataset=Dataset.from_dict({"input_ids": blocks, "labels": blocks}),
            data_collator=default_data_collator,
            callbacks=[clock],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    report(**clock.result(losses_of(trainer), warmup=given.warmup))


if __name__ == "__main__":
    main()
