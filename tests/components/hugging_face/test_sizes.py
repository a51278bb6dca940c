"""What a configuration claims against what the weights beside it hold."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from simlearn.components.hugging_face.sizes import WeightSizes, check_image_sizes, check_sizes, no_larger_than
from simlearn.files import LoadError, UntrustedError


def folder_of(path: Path, **weights: torch.Tensor) -> Path:
    save_file(weights, path / "model.safetensors")
    return path


@pytest.mark.parametrize(
    "config",
    [
        {"num_hidden_layers": 512, "num_local_experts": 512, "depths": [2, 2, 18, 2], "max_window_layers": 28},
        {"max_position_embeddings": 10_485_760, "sliding_window": 131_072, "rope_theta": 50_000_000},
        {"eos_token_id": 151_645, "eos_token_ids": [200_000], "pad_token_id": -1, "vocab_size": 300_000},
        {"hidden_size": 12_288, "intermediate_size": 49_152, "sampling_rate": 48_000, "num_labels": 21_843},
        {"text_config": {"hidden_size": 768}, "id2label": {"0": "a"}, "use_cache": True, "initializer_range": 1e9},
        {"layer_types": ["full_attention"] * 62},
        [1, 2],
        None,
    ],
)
def test_configurations_of_real_models(tmp_path: Path, config: Any) -> None:
    folder_of(tmp_path, table=torch.zeros(300_000, 1))
    check_sizes(tmp_path / "config.json", config)


@pytest.mark.parametrize(
    ("config", "key"),
    [
        ({"num_hidden_layers": 513}, "num_hidden_layers"),
        ({"n_layer": 10**9}, "n_layer"),
        ({"encoder_layers": 10**6}, "encoder_layers"),
        ({"depths": [2, 10**6]}, "depths"),
        ({"num_hidden_groups": 1000}, "num_hidden_groups"),
        ({"vocab_size": 131_073}, "vocab_size"),
        ({"anything": 10**12}, "anything"),
        ({"max_position_embeddings": 2**24 + 1}, "max_position_embeddings"),
        ({"a": {"b": [{"hidden_size": 10**9}]}}, "hidden_size"),
    ],
)
def test_sizes_that_no_weights_have(tmp_path: Path, config: Any, key: str) -> None:
    folder_of(tmp_path, weight=torch.zeros(3, 5))
    with pytest.raises(LoadError, match=rf"config\.json is damaged: it has '{key}'.* 1 tensors of at most 5 rows"):
        check_sizes(tmp_path / "config.json", config)


def test_more_layers_for_more_tensors_in_two_files(tmp_path: Path) -> None:
    for number in range(2):
        tensors = {f"{number}.{layer}": torch.zeros(1) for layer in range(300)}
        save_file(tensors, tmp_path / f"model-{number}.safetensors")
    check_sizes(tmp_path / "config.json", {"num_layers": 600})
    with pytest.raises(LoadError):
        check_sizes(tmp_path / "config.json", {"num_layers": 601})


class TestBuilding:
    def test_what_the_weights_hold_may_be_built(self, tmp_path: Path) -> None:
        folder = folder_of(tmp_path, weight=torch.zeros(3000, 4000))
        with no_larger_than(folder):
            layer = nn.Linear(4000, 3000)
        assert layer.weight.shape == (3000, 4000)

    def test_numbers(self, tmp_path: Path) -> None:
        folder = folder_of(tmp_path, weight=torch.zeros(3, 5))
        with (
            pytest.raises(LoadError, match="ask for more numbers than go with its weights"),
            no_larger_than(folder),
            torch.device("meta"),
        ):
            nn.Linear(3000, 3000)
        nn.Linear(3000, 3000, device="meta")  # the hooks are gone

    def test_buffers(self, tmp_path: Path) -> None:
        module = nn.Module()
        with pytest.raises(LoadError), no_larger_than(folder_of(tmp_path, weight=torch.zeros(1))):
            module.register_buffer("mask", torch.zeros(9_000_000, dtype=torch.bool), persistent=False)

    def test_parts_without_numbers(self, tmp_path: Path) -> None:
        with pytest.raises(LoadError, match="more modules"), no_larger_than(folder_of(tmp_path, weight=torch.zeros(1))):
            nn.Sequential(*[nn.Identity() for _ in range(1000)])

    def test_a_tensor_that_is_set_again_counts_once(self, tmp_path: Path) -> None:
        folder = folder_of(tmp_path, weight=torch.zeros(2000, 2000))
        with no_larger_than(folder):
            layer = nn.Linear(2000, 2000, bias=False)
            for _ in range(10):
                layer.weight = nn.Parameter(torch.zeros(2000, 2000))

    def test_another_thread_builds_what_it_likes(self, tmp_path: Path) -> None:
        built: list[nn.Module] = []
        with no_larger_than(folder_of(tmp_path, weight=torch.zeros(1))):
            thread = threading.Thread(target=lambda: built.append(nn.Linear(4000, 4000, device="meta")))
            thread.start()
            thread.join()
        assert built


IMAGES = [
    {"size": {"height": 224, "width": 224}, "crop_size": {"height": 1024, "width": 1024}, "crop_pct": 0.875},
    {"size": {"shortest_edge": 3136, "longest_edge": 12_845_056}, "min_pixels": 3136, "max_pixels": 12_845_056},
    {"size": [2560, 1920], "do_pad": True, "size_divisor": 32, "rescale_factor": 1 / 255},
    {"size": 384, "crop_pct": None},
]


@pytest.mark.parametrize("config", IMAGES)
def test_images_of_real_models(config: dict[str, Any]) -> None:
    check_image_sizes(Path("preprocessor_config.json"), config)


@pytest.mark.parametrize(
    "config",
    [
        {"size": {"height": 3201, "width": 1}},
        {"size": {"shortest_edge": 10**6}},
        {"size": [10, 10**6]},
        {"image_processor": {"crop_size": 1e9}},
        {"pad_size": {"width": 10**5}},
        {"size_divisor": 10**6},
        {"min_pixels": 10**12},
        {"crop_pct": 0.001},
    ],
)
def test_images_that_would_be_huge(config: dict[str, Any]) -> None:
    with pytest.raises(UntrustedError, match="preprocessor_config.json has"):
        check_image_sizes(Path("preprocessor_config.json"), json.loads(json.dumps(config)))


def test_sizes_of_one_file_and_of_two(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(3, 5), "b": torch.zeros(2)}, tmp_path / "a.safetensors")
    save_file({"c": torch.zeros(7, dtype=torch.int64), "d": torch.tensor(1.0)}, tmp_path / "b.safetensors")
    assert WeightSizes.of(tmp_path / "a.safetensors") == WeightSizes(tensors=2, numbers=17, largest=5)
    assert WeightSizes.of(*tmp_path.iterdir()) == WeightSizes(tensors=4, numbers=25, largest=7)
    assert WeightSizes.of() == WeightSizes()


@pytest.mark.parametrize("content", [None, b"", b"\0" * 8, (2**60).to_bytes(8, "little") + b"{}"])
def test_a_file_that_is_none(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "a.safetensors"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(LoadError, match=r"a\.safetensors is no safetensors file"):
        WeightSizes.of(file)
