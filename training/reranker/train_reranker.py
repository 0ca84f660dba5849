"""Teach all-MiniLM to judge a question and a passage together: something for the retrieval bench's ``--reranker``.

    python -m training.reranker.train_reranker --folder build/reranker [--likeness 40000] [--deals 4]

First what an embedder knows of meaning (pairs scored by the cosine of their embeddings), then which passages answer
(search's own candidates). Half an hour on two idle cores; no network. It stands in for bge-reranker-v2-m3,
has a twenty-fifth of its size, is loaded by the same engine, and is not shipped.
"""

import argparse
import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipelines.retrieval.engines.minilm import MiniLmEmbedder, packaged_folder
from training.reranker.reranker_lessons import Lesson, answer_lessons, likeness_lessons

MAX_TOKENS = 96
"""A question and a passage of 50 words, which is what search cuts."""
BATCH_SIZE = 32
LIKENESS_RATE, ANSWER_RATE = 1e-4, 4e-5
SEED = 11


def open_model(folder: Path) -> Any:
    """Load a cross-encoder, or an encoder that becomes one: its one output begins random."""
    import torch
    from sentence_transformers import CrossEncoder

    torch.manual_seed(SEED)
    return CrossEncoder(str(folder), num_labels=1, max_length=MAX_TOKENS, device="cpu", local_files_only=True)


def train(model: Any, lessons: Sequence[Lesson], folder: Path, *, rate: float, epochs: float = 1) -> None:
    """Teach the lessons in the order of their seed; progress is printed."""
    from datasets import Dataset
    from sentence_transformers.cross_encoder import CrossEncoderTrainer, CrossEncoderTrainingArguments
    from sentence_transformers.cross_encoder.losses import BinaryCrossEntropyLoss

    columns = {
        "question": [lesson.question for lesson in lessons],
        "text": [lesson.text for lesson in lessons],
        "label": [lesson.score for lesson in lessons],
    }
    arguments = CrossEncoderTrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=BATCH_SIZE,
        num_train_epochs=epochs,
        learning_rate=rate,
        warmup_steps=max(1, len(lessons) // BATCH_SIZE // 10),
        weight_decay=0.01,
        seed=SEED,
        save_strategy="no",
        logging_steps=50,
        report_to="none",
        use_cpu=True,
        dataloader_pin_memory=False,
    )
    loss = BinaryCrossEntropyLoss(model)
    CrossEncoderTrainer(model=model, args=arguments, train_dataset=Dataset.from_dict(columns), loss=loss).train()


async def make_lessons(likeness: int, deals: int) -> tuple[list[Lesson], list[Lesson]]:
    """Return both kinds, made with the embedder that search uses."""
    embedder = await MiniLmEmbedder.load()
    try:
        return await likeness_lessons(embedder, likeness, seed=SEED), await answer_lessons(embedder, deals, seed=SEED)
    finally:
        await embedder.close()


def main() -> None:
    """Read the options, teach, and write the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where the model is written")
    parser.add_argument("--encoder", type=Path, help="the encoder to begin with (all-MiniLM-L6-v2)")
    parser.add_argument("--likeness", type=int, default=40_000, help="pairs scored by their cosine")
    parser.add_argument("--deals", type=int, default=4, help="how often the facts are dealt into talks")
    parser.add_argument("--epochs", type=float, default=1, help="how often the answers are gone through")
    options = parser.parse_args()
    likeness, answers = asyncio.run(make_lessons(options.likeness, options.deals))
    print(f"{len(likeness)} pairs for likeness, {len(answers)} for answers", flush=True)
    model = open_model(options.encoder or packaged_folder())
    train(model, likeness, options.folder, rate=LIKENESS_RATE)
    train(model, answers, options.folder, rate=ANSWER_RATE, epochs=options.epochs)
    model.save_pretrained(str(options.folder))
    print(f"written: {options.folder}. Next: python -m bench retrieval --reranker {options.folder}")


if __name__ == "__main__":
    main()
