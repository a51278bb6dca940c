"""ImageEncoder over ViT, ConvNeXt, ResNet, Swin and CLIP, all tiny and random."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_models import tiny_convnext, tiny_resnet, tiny_vit

from simlearn.components import check_folder, load_component, save_component
from simlearn.encoders import ImageEncoder
from simlearn.encoders.encoder import Encoder
from simlearn.files import LoadError, UntrustedError


def images(count: int = 3, mode: str = "RGB") -> list[Image.Image]:
    generator = np.random.default_rng(0)
    return [
        Image.fromarray(generator.integers(0, 255, (20 + number, 30, 3), dtype=np.uint8)).convert(mode)
        for number in range(count)
    ]


def built(parts: tuple[Any, Any], **options: Any) -> ImageEncoder:
    return ImageEncoder(parts[0], processor=parts[1], **options)


def embed(encoder: ImageEncoder, batch: list[Image.Image]) -> torch.Tensor:
    with torch.no_grad():
        return encoder(encoder.get_collate_fn()(batch))


class TestPooling:
    def test_of_the_model(self) -> None:
        model, processor = tiny_vit()
        encoder = ImageEncoder(model, processor=processor)
        expected = model(**processor(images=images(), return_tensors="pt")).pooler_output
        torch.testing.assert_close(embed(encoder, images()), expected)

    def test_first_token_and_mean(self) -> None:
        model, processor = tiny_vit()
        hidden = model(**processor(images=images(), return_tensors="pt")).last_hidden_state
        torch.testing.assert_close(
            embed(ImageEncoder(model, processor=processor, pooling="cls"), images()), hidden[:, 0]
        )
        torch.testing.assert_close(
            embed(ImageEncoder(model, processor=processor, pooling="mean"), images()), hidden.mean(1)
        )

    def test_class_token_where_the_model_does_not_pool(self) -> None:
        model, processor = tiny_vit(pooler=False)
        hidden = model(**processor(images=images(), return_tensors="pt")).last_hidden_state
        torch.testing.assert_close(embed(ImageEncoder(model, processor=processor), images()), hidden[:, 0])

    @pytest.mark.parametrize("build", [tiny_convnext, tiny_resnet])
    def test_feature_maps(self, build: Any) -> None:
        model, processor = build()
        output = model(**processor(images=images(), return_tensors="pt"))
        encoder = ImageEncoder(model, processor=processor)
        assert encoder.embedding_size == 16
        torch.testing.assert_close(embed(encoder, images()), output.pooler_output.flatten(1))
        mean = ImageEncoder(model, processor=processor, pooling="mean")
        torch.testing.assert_close(embed(mean, images()), output.last_hidden_state.mean((2, 3)))
        with pytest.raises(ValueError, match="no first token; use pooling='mean'"):
            ImageEncoder(model, processor=processor, pooling="cls")

    def test_mean_where_there_is_no_class_token(self) -> None:
        from transformers import SwinConfig, SwinModel

        config = SwinConfig(image_size=16, patch_size=2, embed_dim=8, depths=[1, 1], num_heads=[1, 1], window_size=4)
        model = SwinModel(config, add_pooling_layer=False).eval()
        encoder = ImageEncoder(model, processor=tiny_vit()[1])
        hidden = model(**tiny_vit()[1](images=images(), return_tensors="pt")).last_hidden_state
        torch.testing.assert_close(embed(encoder, images()), hidden.mean(1))

    def test_image_features_of_two_tower_models(self, tmp_path: Path) -> None:
        from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel

        small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
        config = CLIPConfig(
            text_config=small, vision_config={**small, "image_size": 16, "patch_size": 4}, projection_dim=6
        )
        size = {"height": 16, "width": 16}
        processor = CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size=size)
        encoder = ImageEncoder(CLIPModel(config).eval(), processor=processor)
        assert embed(encoder, images()).shape == (3, 6)
        save_component(encoder, tmp_path)
        torch.testing.assert_close(embed(ImageEncoder.load(str(tmp_path)), images()), embed(encoder, images()))

    def test_unknown(self) -> None:
        with pytest.raises(ValueError, match="'auto', 'cls' or 'mean'"):
            built(tiny_vit(), pooling="max")


def test_checkpoint_without_pooler_pools_the_class_token(tmp_path: Path) -> None:
    """The pooler would be random: another one in each process, so that no two of them agreed."""
    model, processor = tiny_vit(pooler=False)
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    first, second = (ImageEncoder(tmp_path, local_files_only=True) for _ in range(2))
    assert first.fingerprint() == second.fingerprint()
    torch.testing.assert_close(embed(first, images()), embed(second, images()), rtol=0, atol=0)


def test_checkpoint_that_lacks_weights(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    encoder = built(tiny_vit())
    encoder.save(str(tmp_path))
    weights = load_file(tmp_path / "transformers/model.safetensors")
    del weights["embeddings.cls_token"]
    save_file(weights, tmp_path / "transformers/model.safetensors", metadata={"format": "pt"})
    with pytest.raises(LoadError, match=r"lacks weights of ViTModel: \['embeddings.cls_token'\]"):
        ImageEncoder.load(str(tmp_path))


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK"])
def test_other_colours(mode: str) -> None:
    assert embed(built(tiny_vit()), images(mode=mode)).shape == (3, 32)


def test_objects_that_are_no_images() -> None:
    with pytest.raises(TypeError, match=r"got str; open files with PIL.Image.open, .*Field\(name, encoder\)"):
        built(tiny_vit()).get_collate_fn()(["cat.png"])


def test_collate_carries_the_processor_alone() -> None:
    assert len(pickle.dumps(built(tiny_vit()).get_collate_fn())) < 5_000


def test_trainable_waits_for_no_gradient() -> None:
    from transformers import Dinov2Config, Dinov2Model

    config = Dinov2Config(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=16, patch_size=4)
    for parts, pooling in (
        ((Dinov2Model(config).eval(), tiny_vit()[1]), "auto"),
        (tiny_vit(), "auto"),
        (tiny_vit(), "mean"),
        (tiny_resnet(), "auto"),
    ):
        encoder = built(parts, trainable=True, pooling=pooling)
        encoder(encoder.get_collate_fn()(images())).square().sum().backward()
        waiting = [name for name, weight in encoder.named_parameters() if weight.requires_grad and weight.grad is None]
        assert not waiting, "DDP would wait for them forever"


def test_building_leaves_batch_statistics_alone() -> None:
    model, processor = tiny_resnet()
    model.train()
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    encoder = ImageEncoder(model, processor=processor, trainable=True)
    assert all(torch.equal(before[name], buffer) for name, buffer in model.named_buffers())
    assert all(module.training for module in encoder.modules())


def test_half_precision_survives(tmp_path: Path) -> None:
    model, processor = tiny_vit()
    encoder = ImageEncoder(model.to(torch.bfloat16), processor=processor, pooling="mean")
    save_component(encoder, tmp_path)
    check_folder(tmp_path)
    loaded = load_component(tmp_path, Encoder)
    assert loaded.fingerprint() == encoder.fingerprint()
    assert embed(loaded, images()).dtype == torch.bfloat16


def test_models_that_could_not_be_loaded_again() -> None:
    from transformers import ViTConfig, ViTForImageClassification

    small = ViTConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, image_size=16)
    with pytest.raises(TypeError, match=r"AutoModel builds .*ViTModel.*; pass the backbone"):
        ImageEncoder(ViTForImageClassification(small), processor=tiny_vit()[1])
    with pytest.raises(TypeError, match="a model that AutoModel builds, got Linear"):
        ImageEncoder(torch.nn.Linear(2, 2), processor=tiny_vit()[1])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="needs processor="):
        ImageEncoder(tiny_vit()[0])
    with pytest.raises(TypeError, match="leave processor out"):
        ImageEncoder("somewhere", processor=tiny_vit()[1])


def test_hostile_folders_are_refused(tmp_path: Path) -> None:
    built(tiny_vit()).save(str(tmp_path))
    for name, key in (
        ("transformers/config.json", "AutoModel"),
        ("processor/preprocessor_config.json", "AutoImageProcessor"),
    ):
        path = tmp_path / name
        content = path.read_text()
        path.write_text(json.dumps({**json.loads(content), "auto_map": {key: "evil.Evil"}}))
        with pytest.raises(UntrustedError, match="auto_map"):
            ImageEncoder.load(str(tmp_path))
        path.write_text(content)
    (tmp_path / "transformers/evil.py").write_text("")
    with pytest.raises(UntrustedError, match=r"evil\.py"):
        ImageEncoder.load(str(tmp_path))
