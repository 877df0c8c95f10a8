"""What was compared in sentences, true whatever came out."""

from __future__ import annotations

from collections.abc import Sequence

from qutils.lab.studies.detection.material import Material
from qutils.lab.studies.detection.plan import Profile
from qutils.lab.studies.detection.runs import FP32, Figures


def code(text: str) -> str:
    """A name of the user's as a code span, whatever it holds."""
    return f"`{text.replace('`', '')}`"


def of_material(material: Material, size: Profile) -> str:
    """Data, networks, and the runtimes that are compared."""
    data = material.data
    networks = ", ".join(code(weights.path.name) for weights in material.networks)
    lines = [
        f"- **Data** {code(data.yaml.name)} of {code(data.yaml.parent.name)}: {len(data.names)} "
        f"classes ({', '.join(map(code, data.names))}), {len(data.pictures('val')):,} pictures to "
        f"score, {len(material.pictures):,} others for ranges, {size.size}x{size.size} pixels.",
        f"- **Networks** {networks}" + _trained(material, size) + ".",
        f"- **Runtimes** {', '.join(size.runtimes) or 'none'}"
        + "".join(f"; not installed: {n} (`{c}`)" for n, c in size.missing)
        + ".",
    ]
    return "\n".join(lines)


def _trained(material: Material, size: Profile) -> str:
    if not material.times:
        return ""
    minutes = " and ".join(f"{time.seconds / 60:.1f}" for time in material.times)
    count = len(material.data.pictures("train"))
    return (
        f", trained from scratch, {size.training.epochs} times over {count:,} pictures, in "
        f"{minutes} minutes"
    )


def of_slow(found: Sequence[Figures]) -> str:
    """Where INT8 takes longer than FP32, and what the runtime's own clocks say of it."""
    slow = [one for one in found if one.over_fp32 and one.over_fp32.median > 1]
    if not slow:
        return "No INT8 file takes longer than FP32 in its runtime here."
    lines = []
    for one in slow:
        assert one.over_fp32 is not None
        line = f"- **{one.network}, {one.runtime}, {one.maker}**: {one.over_fp32.median:.2f} times "
        line += "the time of FP32."
        if one.why is not None:
            shares = one.why.profile
            line += (
                f" Of its operators' time {shares.share('integer'):.0f} % is spent in integers, "
                f"{shares.share('float'):.0f} % in float and {shares.share('conversion'):.0f} % "
                "between the two."
            )
        whole = next(
            f for f in found if (f.network, f.runtime, f.maker) == (one.network, one.runtime, FP32)
        )
        lines.append(line + _convolutions(one, whole))
    return "\n".join(lines)


def _convolutions(one: Figures, fp32: Figures) -> str:
    """What a runtime that counts its layers says of two files; empty for the others."""
    if not one.spent or not fp32.spent:
        return ""
    (ours, ours_all), (theirs, theirs_all) = map(_counted, (one, fp32))
    kernels = ", ".join(code(name.split()[1]) for name, _ in one.spent if "Convolution" in name)
    if ours > theirs:
        verdict = "its integer convolutions are slower than those in float"
    elif ours_all > theirs_all:
        verdict = "what its convolutions gain, the other layers lose"
    else:
        verdict = "layer by layer it is no slower, so that the counters do not explain it"
    return (
        f" Its runtime counts {ours:.2f} of {ours_all:.2f} ms in convolutions ({kernels}), and of "
        f"FP32's {theirs:.2f} of {theirs_all:.2f} ms: at this size {verdict}."
    )


def _counted(one: Figures) -> tuple[float, float]:
    """Milliseconds in convolutions, and in all layers."""
    in_all = sum(spent for _, spent in one.spent)
    return sum(spent for name, spent in one.spent if "Convolution" in name), in_all


def of_finding(found: Sequence[Figures]) -> str:
    """A line for each network and runtime: what the files of each maker lose."""
    lines = []
    for key in dict.fromkeys((one.network, one.runtime) for one in found):
        group = [one for one in found if (one.network, one.runtime) == key]
        whole = next(one for one in group if one.maker == FP32).scores.map50_95
        lost = ", ".join(
            f"{one.maker} {whole - one.scores.map50_95:+.2f}" for one in group if one.maker != FP32
        )
        lines.append(f"- **{key[0]}, {key[1]}**: FP32 {whole:.2f} %; points lost: {lost}.")
    return "\n".join(lines)
