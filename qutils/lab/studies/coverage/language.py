"""Architectures of transformers, as configurations small enough to run in seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

#: Two layers, 64 wide: what differs between architectures stays, what only repeats is left out.
_SMALL = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "vocab_size": 200,
    "max_position_embeddings": 64,
}
_DECODER = {**_SMALL, "use_cache": False, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
_GROUPED = {**_DECODER, "num_key_value_heads": 2}
_IMAGES = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "image_size": 32,
    "patch_size": 8,
}


@dataclass(frozen=True)
class Configuration:
    """A class of transformers, the options of its configuration and what it takes.

    ``inputs`` is ``tokens`` (with a mask), ``ids`` (no mask), ``image`` or ``sound``.
    """

    model: str
    options: Mapping[str, Any] = field(default_factory=dict)
    inputs: str = "tokens"
    side: int = 32


TRANSFORMERS: dict[str, Configuration] = {
    "bert": Configuration("BertForSequenceClassification", _SMALL),
    "distilbert": Configuration(
        "DistilBertForSequenceClassification",
        {"dim": 64, "n_layers": 2, "n_heads": 4, "hidden_dim": 128, "vocab_size": 200},
    ),
    "roberta": Configuration("RobertaForSequenceClassification", _SMALL),
    "albert": Configuration("AlbertForSequenceClassification", {**_SMALL, "embedding_size": 32}),
    "electra": Configuration("ElectraForSequenceClassification", {**_SMALL, "embedding_size": 32}),
    "mobilebert": Configuration(
        "MobileBertForSequenceClassification",
        {**_SMALL, "embedding_size": 32, "true_hidden_size": 32, "intra_bottleneck_size": 32},
    ),
    "deberta_v2": Configuration("DebertaV2ForSequenceClassification", _SMALL),
    "squeezebert": Configuration(
        "SqueezeBertForSequenceClassification", {**_SMALL, "embedding_size": 64}
    ),
    "mpnet": Configuration("MPNetForSequenceClassification", _SMALL),
    "roformer": Configuration("RoFormerForSequenceClassification", _SMALL),
    "modernbert": Configuration(
        "ModernBertForSequenceClassification",
        {**_SMALL, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2},
    ),
    "fnet": Configuration("FNetForSequenceClassification", _SMALL, "ids"),
    "gpt2": Configuration(
        "GPT2LMHeadModel",
        {"n_embd": 64, "n_layer": 2, "n_head": 4, "vocab_size": 200, "use_cache": False},
    ),
    "gpt_neox": Configuration("GPTNeoXForCausalLM", _DECODER),
    "opt": Configuration("OPTForCausalLM", {**_DECODER, "ffn_dim": 128, "word_embed_proj_dim": 64}),
    "llama": Configuration("LlamaForCausalLM", _GROUPED),
    "qwen2": Configuration("Qwen2ForCausalLM", _GROUPED),
    "phi": Configuration("PhiForCausalLM", _DECODER),
    "gemma": Configuration("GemmaForCausalLM", {**_GROUPED, "head_dim": 16}),
    "t5_encoder": Configuration(
        "T5EncoderModel",
        {
            "d_model": 64,
            "d_kv": 16,
            "d_ff": 128,
            "num_layers": 2,
            "num_heads": 4,
            "vocab_size": 200,
        },
    ),
    "vit": Configuration("ViTForImageClassification", _IMAGES, "image"),
    "deit": Configuration("DeiTForImageClassification", _IMAGES, "image"),
    "beit": Configuration("BeitForImageClassification", _IMAGES, "image"),
    "dinov2": Configuration("Dinov2ForImageClassification", _IMAGES, "image"),
    "swin": Configuration(
        "SwinForImageClassification",
        {
            "embed_dim": 24,
            "depths": [1, 1],
            "num_heads": [2, 4],
            "window_size": 4,
            "image_size": 64,
        },
        "image",
        64,
    ),
    "segformer": Configuration(
        "SegformerForSemanticSegmentation",
        {"hidden_sizes": [16, 32, 40, 64], "depths": [1, 1, 1, 1], "decoder_hidden_size": 32},
        "image",
        64,
    ),
    "mobilevit": Configuration("MobileViTForImageClassification", {"image_size": 64}, "image", 64),
    "convnext": Configuration(
        "ConvNextForImageClassification",
        {"hidden_sizes": [16, 32, 48, 64], "depths": [1, 1, 1, 1]},
        "image",
        64,
    ),
    "resnet": Configuration(
        "ResNetForImageClassification",
        {
            "hidden_sizes": [16, 32, 48, 64],
            "depths": [1, 1, 1, 1],
            "embedding_size": 16,
            "layer_type": "basic",
        },
        "image",
        64,
    ),
    "mobilenet_v1": Configuration("MobileNetV1ForImageClassification", {}, "image", 64),
    "clip_vision": Configuration("CLIPVisionModel", _IMAGES, "image"),
    "siglip_vision": Configuration("SiglipVisionModel", _IMAGES, "image"),
    "yolos": Configuration(
        "YolosForObjectDetection",
        {**_IMAGES, "image_size": [32, 32], "num_detection_tokens": 5},
        "image",
    ),
    "wav2vec2": Configuration(
        "Wav2Vec2ForCTC",
        {
            **_SMALL,
            "conv_dim": [32] * 7,
            "num_conv_pos_embeddings": 16,
            "num_conv_pos_embedding_groups": 4,
        },
        "sound",
    ),
    "hubert": Configuration(
        "HubertForCTC",
        {
            **_SMALL,
            "conv_dim": [32] * 7,
            "num_conv_pos_embeddings": 16,
            "num_conv_pos_embedding_groups": 4,
        },
        "sound",
    ),
    "whisper_encoder": Configuration(
        "WhisperForAudioClassification",
        {
            "d_model": 64,
            "encoder_layers": 2,
            "encoder_attention_heads": 4,
            "encoder_ffn_dim": 128,
            "decoder_layers": 1,
            "max_source_positions": 50,
            "num_mel_bins": 40,
        },
        "spectrogram",
    ),
}
