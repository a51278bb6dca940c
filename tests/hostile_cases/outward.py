"""What leads outside the folder: other models, code, templates."""

from __future__ import annotations

from hostile_cases.changes import MODEL, Change, config_of, model, only, settings, together

TEMPLATE = "{% for i in range(10**9) %}{{ messages }}{% endfor %}"
MESSAGES = {
    "text": {"method": "forward", "method_output_name": "last_hidden_state"},
    "message": {"method": "forward", "method_output_name": "last_hidden_state", "format": "flat"},
}

OUTWARD: dict[str, Change] = {
    "a backbone of the hub": model(backbone="someone/backbone", use_pretrained_backbone=True),
    "a backbone for a detector": model(model_type="detr", backbone="someone/backbone", use_timm_backbone=False),
    "a backbone in a configuration within": model(vision_config={"more": {"backbone": "someone/backbone"}}),
    "a detector with nothing said": only(f"{MODEL}/config.json", {"model_type": "detr"}),
    "a depth model with nothing said": only(f"{MODEL}/config.json", {"model_type": "dpt", "is_hybrid": True}),
    "a model of timm": only(f"{MODEL}/config.json", {"model_type": "timm_wrapper", "architecture": "hf_hub:a/b"}),
    "a pickle for timm": model(model_args={"checkpoint_path": "/tmp/evil.pt"}),
    "quantisation": model(quantization_config={"quant_method": "bitsandbytes", "load_in_8bit": True}),
    "quantisation of another kind": model(quantization_config={"quant_method": "gptq", "bits": 4}),
    "a base model": model(base_model_name_or_path="someone/model"),
    "an adapter": config_of(f"{MODEL}/adapter_config.json", base_model_name_or_path="someone/model", peft_type="LORA"),
    "an attention kernel": model(_attn_implementation="someone/kernel"),
    "an attention kernel within": model(text_config={"attn_implementation": "someone/kernel:f"}),
    "other weights": model(transformers_weights="../../evil.safetensors"),
    "code": model(auto_map={"AutoModel": "someone/model--evil.Evil"}),
    "code in the tokenizer": config_of(f"{MODEL}/tokenizer_config.json", auto_map={"AutoTokenizer": ["e.E", None]}),
    "another tokenizer": settings(tokenizer_name_or_path="someone/tokenizer"),
    "a tokenizer's file": config_of(f"{MODEL}/tokenizer_config.json", vocab_file="/etc/passwd"),
    "a tokenizer's arguments": config_of(f"{MODEL}/tokenizer_config.json", init_inputs=["/etc/passwd"]),
    "a tokenizer of Mistral": config_of(f"{MODEL}/tokenizer_config.json", tokenizer_class="MistralCommonBackend"),
    "a processor of Bark": config_of(f"{MODEL}/processor_config.json", speaker_embeddings={"repo_or_path": "a/b"}),
    "a processor by name": config_of(f"{MODEL}/processor_config.json", processor_class="BarkProcessor"),
    "an audio tokenizer": config_of(
        f"{MODEL}/processor_config.json",
        processor_class="HiggsAudioV2Processor",
        audio_tokenizer={"audio_tokenizer_class": "DacModel", "audio_tokenizer_name_or_path": "a/b"},
    ),
    "a retrieval model by name": together(settings(transformer_task="retrieval"), model(architectures=["pipeline"])),
    "weights in other folders": config_of(
        f"{MODEL}/model.safetensors.index.json", weight_map={"a": "../a.safetensors"}
    ),
    "modules in other folders": only(f"{MODEL}/modules.json", [{"idx": 0, "name": "0", "path": "..", "type": "a.B"}]),
    "pairs of modalities": settings(
        modality_config={
            **dict.fromkeys(("text", "image", "audio", "video"), MESSAGES["text"]),
        }
    ),
    "generation by code": config_of(f"{MODEL}/generation_config.json", custom_generate="someone/model"),
    "templates": together(
        config_of(f"{MODEL}/tokenizer_config.json", chat_template=TEMPLATE), settings(modality_config=MESSAGES)
    ),
    "templates by guess": together(
        config_of(f"{MODEL}/tokenizer_config.json", chat_template=TEMPLATE),
        lambda folder: (folder / MODEL / "modules.json").unlink(),
    ),
    "templates in pairs": settings(modality_config={"image+message": MESSAGES["text"], "text": MESSAGES["text"]}),
    "templates of an old model that does not use them": together(
        config_of(f"{MODEL}/tokenizer_config.json", chat_template=TEMPLATE),
        only(f"{MODEL}/sentence_bert_config.json", {"max_seq_length": 64}),
    ),
    "templates that are not used": config_of(f"{MODEL}/tokenizer_config.json", chat_template=TEMPLATE),
}
