"""Masked language modelling as transformers' `run_mlm` does it line by line: Trainer, collator, padding to the longest.

One pass over the texts. Everything is at the Trainer's defaults but what the options name, a constant learning rate
(so that losses can be compared step by step) and no writing of checkpoints.
"""

import argparse
import tempfile

import torch
from common import Clock, losses_of, read_texts, report
from datasets import Dataset
from transformers import (
    AutoModelForMaskedLM,
    AutoTokenizer,
    DataCollatorForLanguageModeling,
    PrinterCallback,
    Trainer,
    TrainingArguments,
    set_seed,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="a transformers folder")
    parser.add_argument("--texts", required=True)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--warmup", type=int, required=True, help="steps that are not timed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lr", type=float, default=5e-5)
    parser.add_argument("--mask-rate", type=float, default=0.15)
    parser.add_argument("--max-length", type=int, default=128)
    parser.add_argument("--attention", default="sdpa", choices=["sdpa", "eager"])
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--group-by-length", action="store_true")
    given = parser.parse_args()
    set_seed(given.seed)  # before the head is drawn
    tokenizer = AutoTokenizer.from_pretrained(given.model, trust_remote_code=False)
    model = AutoModelForMaskedLM.from_pretrained(
        given.model, attn_implementation=given.attention, trust_remote_code=False
    )
    rows = tokenizer(read_texts(given.texts), truncation=True, max_length=given.max_length)["input_ids"]
    clock = Clock()
    model.register_forward_pre_hook(clock.watch(lambda args, kwargs: kwargs["attention_mask"]), with_kwargs=True)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model=model,
            args=TrainingArguments(
                output_dir=folder,
                num_train_epochs=1,
                per_device_train_batch_size=given.batch,
                dataloader_drop_last=True,
                dataloader_pin_memory=torch.cuda.is_available(),
                learning_rate=given.lr,
                lr_scheduler_type="constant",
                bf16=given.bf16,
                use_cpu=not torch.cuda.is_available(),
                train_sampling_strategy="group_by_length" if given.group_by_length else "random",
                seed=given.seed,
                logging_steps=1,
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
            ),
            train_dataset=Dataset.from_dict({"input_ids": rows, "length": [len(row) for row in rows]}),
            data_collator=DataCollatorForLanguageModeling(tokenizer, mlm_probability=given.mask_rate),
            callbacks=[clock],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    report(**clock.result(losses_of(trainer), warmup=given.warmup))


if __name__ == "__main__":
    main()
