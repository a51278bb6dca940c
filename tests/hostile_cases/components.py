"""Settings of simlearn's own encoders and heads, by the servable that has them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from hostile_cases.changes import FAR, IMAGES, Change, config_of, weights_of


def servable(change: Callable[[dict[str, Any]], Any]) -> Change:
    def apply(folder: Path) -> None:
        content = json.loads((folder / "servable.json").read_text(encoding="utf-8"))
        change(content)
        (folder / "servable.json").write_text(json.dumps(content), encoding="utf-8")

    return apply


def head(**changes: Any) -> Change:
    return config_of("heads/query/config.json", **changes)


MANY = 1_000_000
LINEAR = {"layer": "Linear", "settings": {"in_features": 8, "out_features": 8, "bias": False}}
COMPONENTS: dict[str, dict[str, Change]] = {
    "text": {
        "a head a million times": servable(lambda content: content.update(heads=["query"] * MANY)),
        "an encoder a million times": servable(lambda content: content.update(encoders=["default"] * MANY)),
        "a part a million times": servable(
            lambda content: content["towers"].update(query=content["towers"]["query"] * MANY)
        ),
        "many towers": servable(lambda content: content["towers"].update({str(n): [] for n in range(MANY)})),
    },
    "bag": {
        "a table of 3*10**8 buckets": config_of(
            "encoders/default/config.json", vectorizer={"buckets": 3 * 10**8, "lengths": [2, 3]}
        ),
        "a table of 10**15 buckets": config_of(
            "encoders/default/config.json", vectorizer={"buckets": 10**15, "lengths": [2, 3]}
        ),
        "embeddings of 10**9": config_of("encoders/default/config.json", embedding_size=FAR),
        "n-grams of 10**9": config_of("encoders/default/config.json", vectorizer={"buckets": 32, "lengths": [FAR]}),
        "n-grams of many lengths": config_of(
            "encoders/default/config.json", vectorizer={"buckets": 32, "lengths": list(range(1, 500_000))}
        ),
        "NaN in a table": weights_of(
            "encoders/default/model.safetensors", lambda w: next(iter(w.values())).fill_(torch.nan)
        ),
    },
    "fasttext": {
        "10**9 buckets": config_of("encoders/default/words_config.json", bucket=FAR),
        "n-grams without end": config_of("encoders/default/words_config.json", max_n=FAR),
        "n-grams from nothing": config_of("encoders/default/words_config.json", min_n=-FAR),
    },
    "head-skip-connection": {
        "10**9 layers": head(n_layers=FAR),
        "10**5 layers": head(n_layers=100_000),
        "10**9 inputs": head(input_embedding_size=FAR),
        "30,000 inputs": head(input_embedding_size=30_000),
    },
    "head-mlp-layer": {
        "10**12 neurons": head(hidden=[10**12, 10**12]),
        "30,000 neurons": head(hidden=[30_000, 30_000]),
        "a million layers": head(hidden=[1] * MANY),
        "10**12 outputs": head(output=10**12),
    },
    "head-softmax-embeddings": {
        "10**9 groups": head(output_groups=FAR),
        "10**9 a group": head(output_size_per_group=FAR),
    },
    "head-stacked-projection": {"a million projections": head(output_sizes=[4] * MANY)},
    "head-widening": {
        "10**9 times as wide": head(expansion_factor=1e9),
        "10**300 times": head(expansion_factor=1e300),
    },
    "head-sequential": {
        "a million modules": head(modules=[LINEAR] * MANY),
        "a module of 10**12": head(
            modules=[{"layer": "Linear", "settings": {"in_features": 8, "out_features": 10**12}}]
        ),
        "a module of 30,000": head(
            modules=[{"layer": "Linear", "settings": {"in_features": 30_000, "out_features": 30_000}}]
        ),
    },
    "two-towers": {
        "an option a million times": config_of("encoders/kind/config.json", options=["short"] * MANY),
        "many options of a head": config_of("heads/document/config.json", options={str(n): 0 for n in range(300_000)}),
    },
    "image": {
        "an image of 10**9": config_of(f"{IMAGES}/config.json", image_size=FAR),
        "an image of 60,000": config_of(f"{IMAGES}/config.json", image_size=60_000),
        "10**9 layers": config_of(f"{IMAGES}/config.json", num_hidden_layers=FAR),
        "10**9 numbers": config_of(f"{IMAGES}/config.json", hidden_size=FAR),
        "10**9 channels": config_of(f"{IMAGES}/config.json", num_channels=FAR),
        "pixels": config_of(f"{IMAGES}/preprocessor_config.json", size={"height": 100_000, "width": 100_000}),
        "pixels of the shortest edge": config_of(f"{IMAGES}/preprocessor_config.json", size={"shortest_edge": 100_000}),
        "cropped pixels": config_of(f"{IMAGES}/preprocessor_config.json", do_center_crop=True, crop_size=100_000),
        "a share of the pixels": config_of(
            f"{IMAGES}/preprocessor_config.json", image_processor_type="ConvNextImageProcessor", crop_pct=1e-6
        ),
        "a file of classes": config_of(
            f"{IMAGES}/preprocessor_config.json",
            image_processor_type="OneFormerImageProcessor",
            class_info_file="a.json",
            repo_path="someone/classes",
        ),
        "a font": config_of(
            f"{IMAGES}/preprocessor_config.json", image_processor_type="Pix2StructImageProcessor", is_vqa=True
        ),
        "a backbone": config_of(f"{IMAGES}/config.json", model_type="dpt", backbone="someone/backbone"),
        "NaN": weights_of(f"{IMAGES}/model.safetensors", lambda weights: next(iter(weights.values())).fill_(torch.nan)),
        "infinity": weights_of(
            f"{IMAGES}/model.safetensors", lambda weights: next(iter(weights.values())).fill_(torch.inf)
        ),
    },
}
