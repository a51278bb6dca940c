"""Sizes that the weights do not have, and weights that are no numbers."""

from __future__ import annotations

import json

from hostile_cases.changes import FAR, MODEL, Change, config_of, holes, model, module, only, raw, settings, weights_of

SIZES: dict[str, Change] = {
    **{
        f"{key} {size}": model(**{key: size})
        for key, size in [
            ("num_hidden_layers", FAR),
            ("num_hidden_layers", 100_000),
            ("vocab_size", 10**12),
            ("vocab_size", 100_000_000),
            ("hidden_size", FAR),
            ("hidden_size", 100_000),
            ("intermediate_size", 10**12),
            ("max_position_embeddings", 10**12),
            ("max_position_embeddings", 16_000_000),
            ("type_vocab_size", FAR),
            ("num_attention_heads", FAR),
            ("num_labels", 100_000_000),
            ("chunk_size_feed_forward", FAR),
            ("vocab_size", -1),
            ("num_hidden_layers", 1e9),
            ("num_hidden_layers", "1000000000"),
        ]
    },
    "a table of the largest sizes": model(vocab_size=131_072, hidden_size=131_072, num_attention_heads=1),
    "GPT-2": model(model_type="gpt2", n_layer=FAR),
    "GPT-2 of many positions": model(model_type="gpt2", n_positions=1_000_000, n_layer=1),
    "T5": model(model_type="t5", num_layers=FAR),
    "ALBERT": model(model_type="albert", inner_group_num=FAR),
    "a mixture": model(model_type="mixtral", num_local_experts=500, num_hidden_layers=500),
    "DistilBERT": model(model_type="distilbert", n_layers=FAR),
    "a model within": model(model_type="clip", text_config={"num_hidden_layers": FAR}),
    "Swin": model(model_type="swin", depths=[FAR, FAR]),
    "ConvNeXt": model(model_type="convnext", depths=[2, 10**7], hidden_sizes=[8, 8]),
    "a bird of many blocks": model(model_type="big_bird", num_random_blocks=FAR),
    "layer types": model(model_type="modernbert", num_hidden_layers=FAR),
    "pooling": config_of(f"{MODEL}/1_Pooling/config.json", embedding_dimension=10**12),
    "old pooling": only(f"{MODEL}/1_Pooling/config.json", {"word_embedding_dimension": 10**12}),
    "a dense layer": module("base.modules.dense.Dense", {"in_features": 10**6, "out_features": 10**6}),
    "a dense layer of allowed sizes": module(
        "base.modules.dense.Dense", {"in_features": 99_999, "out_features": 99_999}
    ),
    "recurrent layers": module(
        "sentence_transformer.modules.lstm.LSTM",
        {"word_embedding_dimension": 8, "hidden_dim": 8, "num_layers": 10**7, "dropout": 0, "bidirectional": True},
    ),
    "convolutions": module(
        "sentence_transformer.modules.cnn.CNN",
        {
            "in_word_embedding_dimension": 9_999,
            "out_channels": 9_999,
            "kernel_sizes": [99_999] * 9,
            "stride_sizes": None,
        },
    ),
    "weighted layers": module(
        "sentence_transformer.modules.weighted_layer_pooling.WeightedLayerPooling",
        {"embedding_dimension": 8, "num_hidden_layers": FAR, "layer_start": 4, "layer_weights": None},
    ),
    "a norm": module("sentence_transformer.modules.layer_norm.LayerNorm", {"dimension": 10**12}),
    "a router's names": module(
        "base.modules.router.Router", {"types": {"../..": "a"}, "structure": {}, "parameters": {}}
    ),
    "long texts": settings(max_seq_length=10**12),
    "NaN": weights_of(f"{MODEL}/model.safetensors", lambda weights: next(iter(weights.values())).fill_(float("nan"))),
    "infinity": weights_of(
        f"{MODEL}/model.safetensors", lambda weights: next(iter(weights.values())).fill_(float("inf"))
    ),
    "other names": weights_of(
        f"{MODEL}/model.safetensors", lambda weights: [weights.update({f"x{n}": weights.pop(n)}) for n in list(weights)]
    ),
    "no weights": weights_of(f"{MODEL}/model.safetensors", lambda weights: weights.clear()),
    "a header that is all": raw(f"{MODEL}/model.safetensors", (2**62).to_bytes(8, "little") + b"{}"),
    "a header of many names": raw(
        f"{MODEL}/model.safetensors",
        (lambda header: len(header).to_bytes(8, "little") + header)(
            json.dumps(
                {f"{n}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for n in range(400_000)}
            ).encode()
        ),
    ),
    "weights of holes": holes(f"{MODEL}/model.safetensors", (16).to_bytes(8, "little") + b'{"a":1}         '),
}
