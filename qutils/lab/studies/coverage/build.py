"""Build an architecture with random weights and draw inputs for it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qutils.detection.torchvision import torchvision
from qutils.errors import not_installed
from qutils.graph.signature import Batch
from qutils.lab.studies.coverage.idioms import IDIOMS
from qutils.lab.studies.coverage.language import TRANSFORMERS, Configuration
from qutils.lab.studies.coverage.vision import TIMM, TORCHVISION, VIDEO

#: Length of a sequence of token ids.
TOKENS = 32
#: Side of an idiom's image.
IDIOM_SIDE = 24


def build(name: str) -> nn.Module:
    """Return the architecture ``library/name`` in eval mode, with random weights."""
    library, own = name.split("/", 1)
    if library == "idiom":
        return IDIOMS[own]().eval()
    make = {"torchvision": _torchvision, "timm": _timm, "transformers": _transformers}[library]
    return make(own).eval()


def inputs(name: str, samples: int, seed: int) -> Batch:
    """Return random inputs ``[samples, ...]``; images are smooth in part, as photographs are."""
    library, own = name.split("/", 1)
    generator = torch.Generator().manual_seed(seed)
    if library == "idiom" and own == "embedding":
        return _batch(Configuration("", inputs="ids"), samples, generator)
    if library == "idiom":
        return images(samples, IDIOM_SIDE, generator)
    if library != "transformers":
        side = TORCHVISION[own] if library == "torchvision" else TIMM[own]
        frames = (8,) if own in VIDEO else ()
        return images(samples, side, generator, frames)
    return _batch(TRANSFORMERS[own], samples, generator)


def images(
    samples: int, side: int, generator: torch.Generator, frames: tuple[int, ...] = ()
) -> Tensor:
    """Return images ``[N, 3, *frames, side, side]`` of standard deviation near 1: coarse, fine."""
    n = samples * 3 * (frames[0] if frames else 1)
    coarse = torch.randn(n, 1, 6, 6, generator=generator)
    smooth = F.interpolate(coarse, (side, side), mode="bilinear", align_corners=False)
    level = torch.randn(n, 1, 1, 1, generator=generator)
    fine = torch.randn(n, 1, side, side, generator=generator)
    mixed = smooth + 0.5 * level + 0.3 * fine
    return mixed.reshape(samples, 3, *frames, side, side)


def _torchvision(name: str) -> nn.Module:
    make: Any = torchvision().models.get_model
    options: dict[str, Any] = {"weights": None}
    if ("mobilenet_v3_large" in name and name != "mobilenet_v3_large") or name.startswith("fcn"):
        options["weights_backbone"] = None
    if name in ("googlenet", "inception_v3"):
        options |= {"aux_logits": False, "init_weights": False}
    made: nn.Module = make(name, **options)
    return made


def _timm(name: str) -> nn.Module:
    torchvision()  # which timm imports
    try:
        import timm
    except ImportError as error:
        raise not_installed("timm", "pip install -e '.[coverage]'", error) from error
    side = TIMM[name]
    model: Any = timm.create_model(name, pretrained=False)
    settings = model.default_cfg
    if settings.get("fixed_input_size") and settings["input_size"][-1] != side:
        model = timm.create_model(name, pretrained=False, img_size=side)
    made: nn.Module = model
    return made


def _transformers(name: str) -> nn.Module:
    torchvision()
    try:
        import transformers
    except ImportError as error:
        raise not_installed("transformers", "pip install -e '.[coverage]'", error) from error
    entry = TRANSFORMERS[name]
    cls: Any = getattr(transformers, entry.model)
    made: nn.Module = cls(cls.config_class(**entry.options))
    return made


def _batch(entry: Configuration, samples: int, generator: torch.Generator) -> Batch:
    if entry.inputs == "image":
        return {"pixel_values": images(samples, entry.side, generator)}
    if entry.inputs == "sound":
        return {"input_values": torch.randn(samples, 1600, generator=generator)}
    if entry.inputs == "spectrogram":
        return {"input_features": torch.randn(samples, 40, 100, generator=generator)}
    ids = torch.randint(3, 200, (samples, TOKENS), generator=generator)
    if entry.inputs == "ids":
        return {"input_ids": ids}
    lengths = torch.randint(TOKENS // 2, TOKENS + 1, (samples, 1), generator=generator)
    mask = (torch.arange(TOKENS) < lengths).long()
    return {"input_ids": ids * mask, "attention_mask": mask}
