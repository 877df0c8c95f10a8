"""What the report says in words: always of the settings that were run, and of no others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import pandas as pd

from qutils import zoo
from qutils.lab.figures.theme import method_label
from qutils.lab.results.headlines import TRIAL
from qutils.lab.studies.study import tables
from qutils.lab.studies.study.plan import Job, bit_pairs

_BITS = ["weight_bits", "activation_bits"]


def amount(jobs: Sequence[Job], profile: str) -> str:
    """How many networks, and how many pictures each is made and scored with."""
    data = zoo.dataset(zoo.entry(jobs[0].model).dataset)
    kinds = Counter(job.method for job in jobs)
    made = ", ".join(f"{kinds[m]} {method_label(m)}" for m in ("fp32", "ptq", "qat") if kinds[m])
    said = [f"Profile **{profile}**: {_plural(len(jobs), 'network')} ({made})"]
    seeds = sorted({job.seed for job in jobs if job.method != "fp32"})
    said.append(f"{'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}")
    for job in [job for job in jobs if job.method == "qat"][:1]:
        train = _pictures(job.train_pictures, len(data.train), "training picture")
        said.append(f"QAT goes {times(job.epochs)} through {train}")
    calibration = _plural(jobs[0].calibration_pictures, "calibration picture")
    test = _pictures(jobs[0].test_pictures, len(data.test), "test picture")
    said += [f"ranges come from {calibration}", f"every network is scored on {test}"]
    return "; ".join(said) + "."


def pairs(weight_bits: Sequence[int], activation_bits: Sequence[int]) -> str:
    """Which pairs of bits run, by what rule, and which asked-for bits are in none.

    >>> print(pairs([3, 8], [4, 8]))
    Bits that run: W3A8, W8A8. The rule: all weight bits beside the widest activations (A8), and \
beside activations of the same bits where asked for. A4 is in no pair: weights of 4 bits were not \
asked for.
    """
    found = bit_pairs(weight_bits, activation_bits)
    widest = max(activation_bits)
    said = (
        f"Bits that run: {', '.join(f'W{w}A{a}' for w, a in found)}. The rule: all weight bits "
        f"beside the widest activations (A{widest}), and beside activations of the same "
        "bits where asked for."
    )
    left = sorted(set(activation_bits) - {a for _, a in found})
    if not left:
        return said
    names, widths = _and(f"A{a}" for a in left), _and(str(a) for a in left)
    verb = "is" if len(left) == 1 else "are"
    return f"{said} {names} {verb} in no pair: weights of {widths} bits were not asked for."


def times(epochs: float) -> str:
    """How often training goes through the pictures.

    >>> times(1.0), times(2), times(0.75)
    ('once', 'twice', '0.75 times')
    """
    return {1.0: "once", 2.0: "twice"}.get(float(epochs), f"{epochs:g} times")


def nothing_compared(df: pd.DataFrame) -> str:
    """Why no observers are compared."""
    return _no_equal_bits(df) or "Only one observer was asked for: nothing to compare."


def granularity_cost(df: pd.DataFrame, first_seed: int, granularity: str = "per_tensor") -> str:
    """A line a setting: top-1 with one scale per channel and per tensor, minmax, PTQ, one seed.

    Without any, the reason why there is none.
    """
    lines = []
    ptq = df[(df["method"] == "ptq") & (df["execution"] == "simulated")]
    minmax = ptq[(ptq["observer"] == "minmax") & (ptq["seed"] == first_seed)]
    for (model, w, a), rows in minmax.groupby(["model", *_BITS], sort=False):
        top1 = rows.groupby("granularity")["top1"].mean()
        if {granularity, "per_channel"} <= set(top1.index):
            lines.append(
                f"- {model}, W{w:.0f}A{a:.0f}, minmax: {top1['per_channel']:.2f} % per channel, "
                f"{top1[granularity]:.2f} % per tensor."
            )
    if lines:
        return "\n".join(lines)
    if reason := _no_equal_bits(df):
        return reason
    if ptq["granularity"].nunique() < 2:
        return "Only one granularity was asked for: nothing to compare."
    return "Minmax was not among the observers: it was run with one granularity alone."


def findings(
    df: pd.DataFrame, observer: str, granularity: str, profile: str, first_seed: int
) -> str:
    """What the numbers of this run say, a line each; of a trial, that they say nothing."""
    if profile == TRIAL:
        return (
            f"- This was a `{TRIAL}` run: its accuracies say nothing about the methods. "
            "Run `default` or `full` for findings."
        )
    main = tables.main_curve(df, observer, granularity)
    compared = tables.comparison(df, first_seed)
    lines = list(_methods(main))
    if compared is not None:
        lines += _observers(compared)
    integer = df[df["execution"] == "integer"]
    if len(integer):
        agreed = integer["agreement_percent"]
        lines.append(
            f"INT8 files predict the class that their simulation predicts for at least "
            f"{agreed.min():.2f} % of the pictures ({_plural(len(agreed), 'file')})."
        )
    return "\n".join(f"- {line}" for line in lines)


def _methods(main: pd.DataFrame) -> Iterator[str]:
    """For each model, between which bits a method gains least and most over what is below it."""
    for model in main["model"].unique():
        own = main[main["model"] == model]
        means = own[own["method"] != "fp32"].groupby(["method", *_BITS])["top1"].mean()
        fp32 = float(own.loc[own["method"] == "fp32", "top1"].mean())
        by_bits = means.unstack("method")
        if {"ptq", "qat"} <= set(by_bits):
            name, difference = "QAT against PTQ", by_bits["qat"] - by_bits["ptq"]
        elif len(by_bits.columns):
            method = str(by_bits.columns[0])
            name, difference = f"{method_label(method)} against FP32", by_bits[method] - fp32
        else:
            continue
        ends = dict.fromkeys((difference.idxmin(), difference.idxmax()))
        told = " to ".join(f"{difference[b]:+.2f} points ({_name(b)})" for b in ends)
        yield f"{model}, top-1 of {name}: {told}."


def _observers(compared: pd.DataFrame) -> Iterator[str]:
    """By bits, the largest distance between two observers."""
    ptq = compared[compared["method"] == "ptq"]
    for bits, rows in ptq.groupby(_BITS):
        groups = rows.groupby(["model", "granularity"])
        spans = groups["top1"].max() - groups["top1"].min()
        model, granularity = spans.idxmax()
        own = groups.get_group((model, granularity)).set_index("observer")["top1"]
        grain = str(granularity).replace("_", " ")
        if spans.max() == 0:
            yield f"{_name(bits)}, PTQ: every observer has the same top-1."
            continue
        yield (
            f"{_name(bits)}, PTQ: between the best and the worst observer lie up to "
            f"{spans.max():.2f} points of top-1 ({model}, {grain}: {own.idxmax()} "
            f"{own.max():.2f} %, {own.idxmin()} {own.min():.2f} %)."
        )


def _no_equal_bits(df: pd.DataFrame) -> str:
    """Why observers and granularities could not be compared; empty if they could."""
    ptq = df[df["method"] == "ptq"]
    if ptq.empty:
        return "PTQ was not among the methods: observers and granularities are compared with it."
    if (ptq["weight_bits"] == ptq["activation_bits"]).any():
        return ""
    ran = ", ".join(_name(bits) for bits in sorted(set(zip(*(ptq[b] for b in _BITS), strict=True))))
    return (
        "Observers and granularities are compared where weights and activations have equal bits; "
        f"no such pair was run ({ran})."
    )


def _name(bits: tuple[float, float]) -> str:
    return f"W{bits[0]:.0f}A{bits[1]:.0f}"


def _pictures(asked: int | None, there: int, what: str) -> str:
    """``None`` stands for all."""
    return f"all {_plural(there, what)}" if asked is None else _plural(asked, what)


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _and(words: Iterator[str] | Sequence[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last
