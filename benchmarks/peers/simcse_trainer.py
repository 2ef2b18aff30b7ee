"""Unsupervised SimCSE as sentence-transformers' documentation does it: (text, text) pairs and its in-batch loss.

One pass over the texts, at the trainer's defaults but what the options name, a constant learning rate, and no writing
of checkpoints. The loss's scale of 20, its default, is a temperature of 0.05.
"""

import argparse
import tempfile

import torch
from common import Clock, losses_of, read_texts, report
from datasets import Dataset
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from transformers import PrinterCallback


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="a sentence-transformers folder")
    parser.add_argument("--texts", required=True)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--warmup", type=int, required=True, help="steps that are not timed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lr", type=float, default=5e-5)
    parser.add_argument("--max-length", type=int, default=128)
    parser.add_argument("--bf16", action="store_true")
    given = parser.parse_args()
    model = SentenceTransformer(given.model, device=None if torch.cuda.is_available() else "cpu")
    model.max_seq_length = given.max_length
    texts = read_texts(given.texts)
    clock = Clock(calls_per_step=2)
    model[0].register_forward_pre_hook(clock.watch(lambda args, kwargs: args[0]["attention_mask"]), with_kwargs=True)
    with tempfile.TemporaryDirectory() as folder:
        trainer = SentenceTransformerTrainer(
            model=model,
            args=SentenceTransformerTrainingArguments(
                output_dir=folder,
                num_train_epochs=1,
                per_device_train_batch_size=given.batch,
                dataloader_drop_last=True,
                dataloader_pin_memory=torch.cuda.is_available(),
                learning_rate=given.lr,
                lr_scheduler_type="constant",
                bf16=given.bf16,
                use_cpu=not torch.cuda.is_available(),
                seed=given.seed,
                logging_steps=1,
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
            ),
            train_dataset=Dataset.from_dict({"anchor": texts, "positive": texts}),
            loss=MultipleNegativesRankingLoss(model),
            callbacks=[clock],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    report(**clock.result(losses_of(trainer), warmup=given.warmup))


if __name__ == "__main__":
    main()
