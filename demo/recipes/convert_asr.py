"""Turn a training run into the folder that `faster_whisper.WhisperModel` loads, and choose its alignment heads.

    python -m demo.recipes.convert_asr

Seconds for the conversion to int8, some minutes for the heads: each of the decoder's attention heads places the words
of sentences whose word times are known, and those that do it best together are written into the model.
"""

import argparse
import json
import random
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.progress import track
from tokenizers import Tokenizer

from demo.recipes.asr_measures import word_time_errors
from demo.recipes.asr_model import END, NO_TIMESTAMPS, START, token_id
from demo.recipes.speech import list_voices
from demo.recipes.text import make_sentence
from demo.recipes.train_asr import DEFAULT_FOLDER as RUN_FOLDER
from demo.recipes.word_times import TimedSpeech, speak_timed

MODEL_FOLDER = Path("demo/models/asr")
WINDOW_S = 12
"""What the product may give the model at once: training windows reach a little further. faster-whisper itself goes on
padding to 30 s."""
Head = tuple[int, int]
"""Decoder layer and attention head."""


def convert(run: Path, target: Path) -> list[Head]:
    """Write the CTranslate2 folder; returns every attention head that alignment could use."""
    from ctranslate2.converters import TransformersConverter
    from transformers import GenerationConfig, PreTrainedTokenizerFast, WhisperForConditionalGeneration

    tokenizer = Tokenizer.from_file(str(run / "tokenizer.json"))
    model: Any = WhisperForConditionalGeneration.from_pretrained(run)
    end = token_id(tokenizer, END)
    generation: Any = GenerationConfig(  # type: ignore[no-untyped-call]
        decoder_start_token_id=token_id(tokenizer, START), eos_token_id=end, pad_token_id=end, suppress_tokens=[]
    )
    heads = [
        (layer, head)
        for layer in range(model.config.decoder_layers)
        for head in range(model.config.decoder_attention_heads)
    ]
    generation.alignment_heads = [list(head) for head in heads]
    generation.no_timestamps_token_id = token_id(tokenizer, NO_TIMESTAMPS)
    model.generation_config = generation
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
            tokenizer_object=tokenizer, bos_token=END, eos_token=END, unk_token=END
        ).save_pretrained(folder)
        converter = TransformersConverter(folder, copy_files=["tokenizer.json"])
        converter.convert(str(target), quantization="int8", force=True)
    features = {"chunk_length": WINDOW_S, "feature_size": 80, "hop_length": 160, "n_fft": 400, "sampling_rate": 16000}
    (target / "preprocessor_config.json").write_text(json.dumps(features) + "\n")
    write_heads(target, heads)
    return heads


def write_heads(model: Path, heads: Sequence[Head]) -> None:
    """Set the alignment heads; nothing is suppressed at the start, so that silence may end at once."""
    config = {
        "alignment_heads": [list(head) for head in heads],
        "lang_ids": [],
        "suppress_ids": [],
        "suppress_ids_begin": [],
    }
    (model / "config.json").write_text(json.dumps(config) + "\n")


def choose_heads(model: Path, heads: Sequence[Head], speech: Sequence[TimedSpeech], most: int = 4) -> list[Head]:
    """The heads whose mean attention places words best: the best one, then whatever improves it, up to `most`."""

    def error(chosen: Sequence[Head]) -> float:
        write_heads(model, chosen)
        return word_time_errors(model, speech).mean_s

    alone = {head: error([head]) for head in track(heads, "Trying heads")}
    ranking = sorted(heads, key=alone.__getitem__)
    chosen, best = [ranking[0]], alone[ranking[0]]
    for head in ranking[1:5]:
        if len(chosen) < most and (together := error([*chosen, head])) < best:
            chosen, best = [*chosen, head], together
    write_heads(model, sorted(chosen))
    return sorted(chosen)


def timed_sentences(count: int, seed: int) -> list[TimedSpeech]:
    """Test sentences in held-out espeak-ng voices, with word times."""
    rng = random.Random(seed)
    voices = list_voices("heldout", ["espeak-ng"])
    return [speak_timed(make_sentence(rng, "test"), voices[index % len(voices)]) for index in range(count)]


def main(arguments: list[str] | None = None) -> None:
    """Convert, and choose the heads."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=RUN_FOLDER, help="folder of the training run")
    parser.add_argument("--model", type=Path, default=MODEL_FOLDER, help="folder to write")
    parser.add_argument("--sentences", type=int, default=16, help="sentences to choose heads with; 0 uses all heads")
    options = parser.parse_args(arguments)
    heads = convert(options.run, options.model)
    if options.sentences:
        heads = choose_heads(options.model, heads, timed_sentences(options.sentences, seed=11))
    size = sum(path.stat().st_size for path in options.model.iterdir())
    print(f"{options.model}: {size / 1e6:.1f} MB, alignment heads {heads}")


if __name__ == "__main__":
    main()
