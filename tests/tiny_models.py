"""Tiny models with random weights, built in a moment and without network. One seed always gives the same weights."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import torch

WORDS = "query document red green blue spoon fork knife a the of sort list cat dog hello world passage".split()


def tiny_tokenizer(max_length: int = 64) -> Any:
    """A WordPiece tokenizer whose vocabulary spells every ASCII word."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordPiece
    from tokenizers.normalizers import BertNormalizer
    from tokenizers.pre_tokenizers import BertPreTokenizer
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    characters = [*string.ascii_lowercase, *string.digits, *":.,-_()"]
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    entries = dict.fromkeys([*special, *characters, *(f"##{character}" for character in characters), *WORDS])
    tokenizer = Tokenizer(WordPiece({entry: number for number, entry in enumerate(entries)}, unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {
        "pad_token": "[PAD]",
        "unk_token": "[UNK]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "mask_token": "[MASK]",
    }
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=max_length, **names)


def tiny_transformer(
    path: str | Path, *, hidden_size: int = 32, seed: int = 0, dtype: torch.dtype = torch.float32
) -> str:
    """Write a two-layer BERT with its tokenizer into a folder; returns the folder."""
    from transformers import BertConfig, BertModel

    tokenizer = tiny_tokenizer()
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden_size,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=2 * hidden_size,
        max_position_embeddings=64,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        BertModel(config).to(dtype).save_pretrained(str(path))
    tokenizer.save_pretrained(str(path))
    return str(path)


def tiny_sentence_transformer(
    path: str | Path, *, hidden_size: int = 32, seed: int = 0, include_prompt: bool = True, **options: Any
) -> Any:
    """A SentenceTransformer over a tiny BERT, with mean pooling and normalisation.

    Args:
        path: an empty folder for the transformer's files.
        hidden_size: D.
        seed: of the weights.
        include_prompt: whether the pooling counts the prompt's tokens.
        options: of `SentenceTransformer` (prompts, truncate_dim); `dtype` is the transformer's.
    """
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    dtype = options.pop("dtype", torch.float32)
    folder = tiny_transformer(path, hidden_size=hidden_size, seed=seed, dtype=dtype)
    transformer = Transformer(folder, model_kwargs={"dtype": dtype}, max_seq_length=64)
    pooling = Pooling(hidden_size, "mean", include_prompt=include_prompt)
    return SentenceTransformer(modules=[transformer, pooling, Normalize()], device="cpu", **options)


def tiny_static_model(*, size: int = 16, seed: int = 0) -> Any:
    """A SentenceTransformer that averages token embeddings; its features are flat ids and offsets."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    tokenizer = tiny_tokenizer()
    weights = torch.randn(len(tokenizer), size, generator=torch.Generator().manual_seed(seed))
    return SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_weights=weights)], device="cpu")


def tiny_vit(*, hidden_size: int = 32, seed: int = 0, pooler: bool = True) -> tuple[Any, Any]:
    """A two-layer vision transformer for 16 x 16 images, and its processor."""
    from transformers import ViTConfig, ViTImageProcessorPil, ViTModel

    config = ViTConfig(
        hidden_size=hidden_size,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=2 * hidden_size,
        image_size=16,
        patch_size=4,
        hidden_dropout_prob=0.1,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = ViTModel(config, add_pooling_layer=pooler).eval()
    return model, ViTImageProcessorPil(size={"height": 16, "width": 16})


def tiny_convnext(*, seed: int = 0) -> tuple[Any, Any]:
    """A two-stage ConvNeXt for 32 x 32 images, with 16 channels at the end, and its processor."""
    from transformers import ConvNextConfig, ConvNextModel, ViTImageProcessorPil

    config = ConvNextConfig(hidden_sizes=[8, 16], depths=[1, 1], num_stages=2)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = ConvNextModel(config).eval()
    return model, ViTImageProcessorPil(size={"height": 32, "width": 32})


def tiny_resnet(*, seed: int = 0) -> tuple[Any, Any]:
    """A two-stage ResNet (batch normalisation) for 32 x 32 images, with 16 channels at the end, and its processor."""
    from transformers import ResNetConfig, ResNetModel, ViTImageProcessorPil

    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = ResNetModel(config).eval()
    return model, ViTImageProcessorPil(size={"height": 32, "width": 32})


def tiny_fasttext(*, size: int = 12, seed: int = 0, bucket: int = 97) -> Any:
    """A gensim FastText trained for a moment on sentences of `WORDS` and a few words beyond ASCII."""
    from gensim.models import FastText

    sentences = [WORDS[start : start + 6] for start in range(12)] + [["größe", "naïve", "日本語", "ёлка", "x"]] * 2
    return FastText(
        sentences, vector_size=size, min_count=1, bucket=bucket, min_n=2, max_n=4, epochs=2, seed=seed, workers=1
    )


def tiny_gpt2(path: str | Path, *, hidden_size: int = 32, seed: int = 0) -> str:
    """Write a two-layer GPT-2 and a tokenizer of bytes without a padding token into a folder; returns the folder."""
    from tokenizers import Tokenizer
    from tokenizers.decoders import ByteLevel as ToBytes
    from tokenizers.models import BPE
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import GPT2Config, GPT2Model, PreTrainedTokenizerFast

    entries = {"<|endoftext|>": 0, **{one: number + 1 for number, one in enumerate(sorted(ByteLevel.alphabet()))}}
    tokenizer = Tokenizer(BPE(entries, []))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.decoder = ToBytes()
    names = dict.fromkeys(("eos_token", "bos_token", "unk_token"), "<|endoftext|>")
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=64, **names).save_pretrained(str(path))
    config = GPT2Config(vocab_size=len(entries), n_positions=64, n_embd=hidden_size, n_layer=2, n_head=2)
    config.bos_token_id = config.eos_token_id = 0
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        GPT2Model(config).save_pretrained(str(path))
    return str(path)


def tiny_relative(path: str | Path, kind: str, *, hidden_size: int = 32, seed: int = 0) -> str:
    """Write a two-layer "distilbert" or "roberta" with the tokenizer of `tiny_transformer`; returns the folder."""
    from transformers import AutoConfig, AutoModel

    tokenizer = tiny_tokenizer()
    sizes = {"dim": hidden_size, "hidden_dim": 64, "n_layers": 2, "n_heads": 2, "max_position_embeddings": 64}
    if kind == "roberta":
        sizes = {"hidden_size": hidden_size, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
        sizes |= {"max_position_embeddings": 66, "pad_token_id": 0, "type_vocab_size": 1}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        AutoModel.from_config(AutoConfig.for_model(kind, vocab_size=len(tokenizer), **sizes)).save_pretrained(str(path))
    tokenizer.save_pretrained(str(path))
    return str(path)


def tiny_cross_encoder(path: str | Path, *, seed: int = 0) -> str:
    """Write a BERT of one layer that gives two texts a number, with the tokenizer of `tiny_transformer`."""
    from transformers import BertConfig, BertForSequenceClassification

    tokenizer = tiny_tokenizer()
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=64,
        num_labels=1,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        BertForSequenceClassification(config).save_pretrained(str(path))
    tokenizer.save_pretrained(str(path))
    return str(path)
