"""What each profile of the coverage report runs, and which libraries this machine lacks."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, replace

from qutils.errors import known_names
from qutils.lab.studies.coverage.idioms import IDIOMS
from qutils.lab.studies.coverage.language import TRANSFORMERS
from qutils.lab.studies.coverage.vision import TIMM, TORCHVISION

OURS = "qutils"
#: Tools beside ours -> the package each needs.
PEERS = {"quantize_static": "onnxruntime", "nncf": "nncf", "torchao": "torchao"}
#: Library -> its architectures.
LIBRARIES = {
    "idiom": tuple(IDIOMS),
    "timm": tuple(TIMM),
    "torchvision": tuple(TORCHVISION),
    "transformers": tuple(TRANSFORMERS),
}
#: Every architecture, ``library/name``.
ARCHITECTURES = tuple(f"{library}/{name}" for library, names in LIBRARIES.items() for name in names)
INSTALL = "pip install -e '.[coverage]'"

_SMOKE = (
    *("timm/test_resnet", "torchvision/squeezenet1_1"),
    *("transformers/vit", "idiom/gelu", "idiom/embedding"),
)
_DEFAULT = (
    *_SMOKE,
    *("timm/test_vit", "timm/test_efficientnet", "torchvision/mobilenet_v3_small"),
    *("transformers/bert", "transformers/gpt2"),
    *("idiom/attention", "idiom/transposed_convolution"),
)
#: Run in place of architectures whose library is missing.
_SPARE = ("idiom/hard_swish", "idiom/tanh", "idiom/conv3d")


@dataclass(frozen=True)
class Profile:
    """``calibration`` and ``samples`` random inputs; ``repeats`` timed calls of each file.

    One step (quantizing, a peer, timing) may take ``seconds`` and ``gib`` of address space.
    ``missing`` are libraries without which architectures were left out, ``peers_missing`` tools.
    """

    architectures: tuple[str, ...]
    peers: tuple[str, ...]
    calibration: int
    samples: int
    repeats: int
    seconds: float = 600.0
    gib: int = 16
    seed: int = 0
    missing: tuple[str, ...] = ()
    peers_missing: tuple[str, ...] = ()


PROFILES = {
    "smoke": Profile(_SMOKE, ("quantize_static",), 16, 16, 5),
    "default": Profile(_DEFAULT, tuple(PEERS), 32, 64, 20),
    "full": Profile(ARCHITECTURES, tuple(PEERS), 32, 64, 20),
}


def choose(
    profile: str,
    architectures: Sequence[str] | None = None,
    peers: Sequence[str] | None = None,
) -> Profile:
    """Return the profile of that name, with what is not None in place of its own.

    Architectures whose library is not installed are left out, and the library is named in
    ``missing``; in ``smoke`` idioms, which need none, take their places.

    Raises:
        InvalidInputError: unknown profile, architecture or tool (suggests the closest); empty.
    """
    size = PROFILES[known_names("profile", [profile], PROFILES)[0]]
    if architectures is not None:
        known = known_names("architecture", architectures, ARCHITECTURES)
        size = replace(size, architectures=known)
    if peers is not None:
        size = replace(size, peers=known_names("tool", peers, PEERS) if peers else ())
    lacking = [name for name in LIBRARIES if name != "idiom" and not _installed(name)]
    here = [a for a in size.architectures if a.split("/")[0] not in lacking]
    if profile == "smoke" and architectures is None:
        here += _SPARE[: len(size.architectures) - len(here)]
    return replace(
        size,
        architectures=tuple(here),
        missing=tuple(lacking),
        peers=tuple(p for p in size.peers if _installed(PEERS[p])),
        peers_missing=tuple(p for p in size.peers if not _installed(PEERS[p])),
    )


def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None
