"""Turn a training run into the folder that `faster_whisper.WhisperModel` loads, and choose its alignment heads.

    python -m training.asr.convert_asr

Half a minute. The alignment heads, by which word times are found, are those of the decoder's attention heads that look
where a word sounds, in sentences whose word times are known.
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

from training.asr.asr_dataset import MEL_BANDS, WINDOW_FRAMES
from training.asr.asr_model import END, NO_TIMESTAMPS, START, TIMESTAMP_STEP_S, token_id
from training.asr.text import make_sentence
from training.asr.train_asr import DEFAULT_FOLDER as RUN_FOLDER
from training.asr.word_times import TimedSpeech, speak_timed
from training.speech import SAMPLE_RATE_HZ, list_voices

MODEL_FOLDER = Path("demo/models/asr")
WINDOW_S = 8
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


def choose_heads(run: Path, speech: Sequence[TimedSpeech], most: int = 3) -> list[Head]:
    """The heads that look where a word sounds: least distance between it and the centre of their attention."""
    import numpy as np
    import torch
    from transformers import WhisperForConditionalGeneration

    from training.asr.make_asr_data import log_mel

    tokenizer = Tokenizer.from_file(str(run / "tokenizer.json"))
    model: Any = WhisperForConditionalGeneration.from_pretrained(run, attn_implementation="eager").eval()  # type: ignore[no-untyped-call]
    prompt = [token_id(tokenizer, START), token_id(tokenizer, NO_TIMESTAMPS)]
    distances: dict[Head, list[float]] = {}
    for spoken in track(speech, "Watching heads"):
        spelled = [tokenizer.encode(" " + word).ids for word in spoken.words]
        features = torch.zeros(1, MEL_BANDS, WINDOW_FRAMES)
        heard = log_mel(spoken.samples).T
        features[0, :, : heard.shape[1]] = torch.from_numpy(heard.astype(np.float32))
        with torch.no_grad():
            encoded = model.model.encoder(features).last_hidden_state
            answer = model.model.decoder(
                input_ids=torch.tensor([prompt + [token for word in spelled for token in word]]),
                encoder_hidden_states=encoded,
                output_attentions=True,
            )
        edges = [*spoken.starts_s[1:], len(spoken.samples) / SAMPLE_RATE_HZ]
        places_s = torch.arange(WINDOW_FRAMES // 2) * TIMESTAMP_STEP_S
        for layer, attention in enumerate(answer.cross_attentions):
            centres_s = (attention[0] * places_s).sum(-1)  # (heads, tokens)
            first = len(prompt) - 1  # the step that answers with a token is the one before it
            for tokens, start_s, end_s in zip(spelled, spoken.starts_s, edges, strict=True):
                if start_s is not None and end_s is not None:
                    found_s = centres_s[:, first : first + len(tokens)].mean(-1)
                    for head, distance_s in enumerate((found_s - (start_s + end_s) / 2).abs().tolist()):
                        distances.setdefault((layer, head), []).append(distance_s)
                first += len(tokens)
    ranking = sorted(distances, key=lambda head: float(np.median(distances[head])))
    return sorted(ranking[:most])


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
    parser.add_argument("--sentences", type=int, default=12, help="sentences to choose heads with; 0 uses all heads")
    options = parser.parse_args(arguments)
    heads = convert(options.run, options.model)
    if options.sentences:
        heads = choose_heads(options.run, timed_sentences(options.sentences, seed=11))
        write_heads(options.model, heads)
    size = sum(path.stat().st_size for path in options.model.iterdir())
    print(f"{options.model}: {size / 1e6:.1f} MB, alignment heads {heads}")


if __name__ == "__main__":
    main()
