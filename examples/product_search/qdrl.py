"""From qdrl's own YAML to a config of this example.

    python examples/product_search/qdrl.py OLD.yaml NEW.yaml
    python examples/product_search/train.py --config-dir . --config-name NEW [KEY=VALUE ...]

Every key is taken over or refused. `loss.batch_size` must be `batch_size`, and a table must have rows enough: qdrl
would fail on either in training. Learning is Adam's without warm-up or decay, as there. What differs on purpose: rows
are shuffled, one product is no negative of itself, triplets take random negatives in place of always the first ones,
and a run that exists goes on *after* its last epoch. `reuse_epoch: False` starts a new run with the weights of the old
one.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from runs import errors_told

from simlearn import Vocabulary

KEYS = """
task_id run_id num_epochs dataset_dir commit_hash batch_size learning_rate reuse_epoch dataloader_workers
dataset.query_features dataset.document_features
loss.type loss.batch_size loss.temperature loss.num_negatives loss.margin negatives.type
text_vectorizer.type text_vectorizer.dictionary_path text_vectorizer.num_oov_tokens
text_vectorizer.word_unigrams_limit text_vectorizer.word_bigrams_limit text_vectorizer.char_trigrams_limit
model.type model.text_embedding.num_embeddings model.text_embedding.embedding_dim model.fc_dim model.output_dim
model.hidden_layers model.last_linear model.query.text_feature model.document.text_feature
model.document.categorical_feature model.category_feature.num_embeddings model.category_feature.embedding_dim
recall_validation.enabled recall_validation.k recall_validation.query_typo_probabilities
""".split()
FEATURE_KEYS = ["name", "type", "dictionary_path", "num_oov_categories"]
MODELS = {"SimpleTextEncoder": "simple_text", "TwoTower": "two_tower", "MultiModalTwoTower": "multi_modal"}
LOSSES = {"batch_softmax": "softmax", "triplet": "triplet"}
_REQUIRED: Any = object()


class Keys:
    """A config by dotted keys, each of which is taken once."""

    def __init__(self, config: Any) -> None:
        self._left = dict(_flat(config))
        if "negatives.type" in self._left:
            raise ValueError(
                "negatives.type is refused: qdrl ignored it; its negatives are those of the batch, and of the triplet "
                "loss loss.num_negatives. Delete it"
            )
        _check_known(self._left, KEYS)

    def __call__(self, key: str, default: Any = _REQUIRED) -> Any:
        """The value of a key."""
        value = self._left.pop(key, default)
        if value is _REQUIRED:
            raise ValueError(f"{key} is missing")
        return value

    def one_of(self, key: str, names: dict[str, Any]) -> Any:
        """What the value of a key stands for."""
        value = self(key)
        if value not in names:
            raise ValueError(f"{key} is {value!r}; those there are: {', '.join(names)}")
        return names[value]

    def finish(self, kinds: str) -> None:
        """Refuse what nobody took."""
        if self._left:
            raise ValueError(f"{', '.join(self._left)}: of no use with {kinds}; delete it")


def convert(old: Any) -> dict[str, Any]:
    """Our config, as `train.py --config-name` reads it.

    Raises:
        ValueError: for keys that are unknown, missing, or cannot be honoured.
    """
    keys = Keys(old)
    kind, loss = keys.one_of("model.type", MODELS), keys.one_of("loss.type", LOSSES)
    keys.one_of("text_vectorizer.type", {"dictionary": None})
    size, data = keys("batch_size"), _data(keys, kind)
    run = str(Path(str(keys("task_id"))) / str(keys("run_id")))
    warm = not keys("reuse_epoch", True) and Path(run).exists()  # qdrl then counted the epochs of this run anew
    limits = ("word_unigrams_limit", "word_bigrams_limit", "char_trigrams_limit", "num_oov_tokens")
    vectorizer = {key: keys(f"text_vectorizer.{key}") for key in limits}
    _check_rows(keys, "model.text_embedding", data["dictionary"], vectorizer["num_oov_tokens"])
    new = {
        "defaults": [
            "config",
            {"override model": kind},
            {"override loss": loss},
            {"override vectorizer": "qdrl"},
            "_self_",
        ],
        "run": None if warm else run,
        "init_from": run if warm else None,
        "num_epochs": keys("num_epochs"),
        "learning_rate": keys("learning_rate"),
        "weight_decay": 0.0,
        "warmup": 0,
        "commit_hash": keys("commit_hash", None),
        "model": _model(keys, kind, data),
        "loss": _loss(keys, loss, size),
        "vectorizer": vectorizer,
        "data": {
            "folder": keys("dataset_dir"),
            **{key: value for key, value in data.items() if key != "num_oov_categories"},
            "product": None,
            "batch_size": size,
            "workers": keys("dataloader_workers", 0),
        },
        **_evaluation(keys),
    }
    keys.finish(f"model.type: {kind}, loss.type: {loss}")
    return new


def _data(keys: Keys, kind: str) -> dict[str, Any]:
    """The features, by what they are for."""
    features = {role: _features(keys, role) for role in ("query", "document")}
    found = {
        "query": _feature(keys("model.query.text_feature"), features["query"], "text")["name"],
        "title": _feature(keys("model.document.text_feature"), features["document"], "text")["name"],
        "category": None,
        "categories": None,
        "num_oov_categories": None,
        "dictionary": keys("text_vectorizer.dictionary_path"),
    }
    if kind == "multi_modal":
        own = _feature(keys("model.document.categorical_feature"), features["document"], "categorical")
        found |= {"category": own["name"], "categories": own["dictionary_path"]}
        found["num_oov_categories"] = own["num_oov_categories"]
    used = {found["query"], found["title"], found["category"]}
    if unused := [one["name"] for own in features.values() for one in own if one["name"] not in used]:
        raise ValueError(f"dataset has features that the model does not read: {', '.join(unused)}; delete them")
    return found


def _features(keys: Keys, role: str) -> list[dict[str, Any]]:
    features = keys(f"dataset.{role}_features")
    for feature in features:
        _check_known(feature, FEATURE_KEYS, f"dataset.{role}_features: ")
    return list(features)


def _feature(name: str, features: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    found = [one for one in features if one.get("name") == name and one.get("type") == kind]
    if len(found) != 1:
        told = ", ".join(f"{one.get('name')} ({one.get('type')})" for one in features)
        raise ValueError(f"the model reads the {kind} feature {name!r}, dataset has {told}")
    needed = {"text": ["name", "type"], "categorical": FEATURE_KEYS}[kind]
    if set(found[0]) != set(needed):
        raise ValueError(
            f"the {kind} feature {name!r} must have the keys {', '.join(needed)}, got {', '.join(found[0])}"
        )
    return found[0]


def _model(keys: Keys, kind: str, data: dict[str, Any]) -> dict[str, Any]:
    simple = kind == "simple_text"
    hidden = [keys("model.fc_dim")] if simple else keys("model.hidden_layers")
    linear, output = simple or keys("model.last_linear"), keys("model.output_dim", None)
    if linear and output is None:
        raise ValueError("model.output_dim is missing")
    if not linear and output not in (None, *hidden[-1:]):
        raise ValueError(
            f"model.output_dim is {output}, and with last_linear: False the embedding has the size of the last hidden "
            f"layer, of {hidden}; qdrl ignored the former. Delete it, or take last_linear: True"
        )
    size = keys("model.text_embedding.embedding_dim")
    model = {"embedding_size": size, "hidden": hidden, "output": output if linear else None}
    if kind == "multi_modal":
        buckets = data["num_oov_categories"]
        _check_rows(keys, "model.category_feature", data["categories"], buckets)
        model |= {"category_size": keys("model.category_feature.embedding_dim"), "category_hashing": "md5"}
        model["category_buckets"] = buckets - 1  # qdrl has one less than it says
    return model


def _check_rows(keys: Keys, place: str, dictionary: str, buckets: int) -> None:
    rows, needed = keys(f"{place}.num_embeddings"), len(Vocabulary.read(dictionary)) + buckets
    if rows < needed:
        raise ValueError(f"{place}.num_embeddings is {rows}; {dictionary} and {buckets} buckets need {needed}")


def _loss(keys: Keys, kind: str, size: int) -> dict[str, Any]:
    if keys("loss.batch_size", size) != size:
        raise ValueError(f"loss.batch_size must be batch_size, which is {size}")
    if kind == "softmax":
        return {"temperature": keys("loss.temperature")}
    count = keys("loss.num_negatives")
    drawn = {"mining": "random", "num_negatives": count} if count < size - 1 else {"mining": "all"}
    return {"margin": keys("loss.margin"), "average": "all", **drawn}


def _evaluation(keys: Keys) -> dict[str, Any]:
    enabled, places = keys("recall_validation.enabled", False), keys("recall_validation.k", [10])
    typos = keys("recall_validation.query_typo_probabilities", [0.0])
    name = f"search_recall@{10 if 10 in places else places[0]}" + (f"/typos_prob={typos[0]}" if 0 not in typos else "")
    return {
        "monitor": name if enabled else "validation_loss",
        "evaluation": {"enabled": enabled, "k": places, "typos": typos},
    }


def _check_known(given: Any, known: list[str], place: str = "") -> None:
    if unknown := sorted(set(given) - set(known)):
        raise ValueError(f"{place}{', '.join(unknown)} is no key of qdrl; known are {', '.join(known)}")


def _flat(config: Any, prefix: str = "") -> list[tuple[str, Any]]:
    return [
        pair
        for key, value in config.items()
        for pair in (_flat(value, f"{prefix}{key}.") if isinstance(value, dict) else [(f"{prefix}{key}", value)])
    ]


def main() -> None:
    """Write the new config."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("old", type=Path, help="qdrl's YAML")
    parser.add_argument("new", type=Path, help="where ours is written")
    arguments = parser.parse_args()
    with errors_told():
        new = convert(OmegaConf.to_container(OmegaConf.load(arguments.old), resolve=True))
    arguments.new.write_text(OmegaConf.to_yaml(OmegaConf.create(new)), encoding="utf-8")
    print(f"train.py --config-dir {arguments.new.parent} --config-name {arguments.new.stem}")


if __name__ == "__main__":
    main()
