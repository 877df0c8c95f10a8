"""Training and exporting with Ultralytics: what runs in the process that ``process`` starts."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from qutils.cores import thread_limit
from qutils.detection.ultralytics import library


def _train(told: Callable[..., None], start: str, resume: bool, **options: Any) -> str:
    yolo = library().YOLO(start)
    yolo.add_callback(
        "on_train_epoch_end",
        lambda trainer: told(epoch=trainer.epoch + 1, threads=torch.get_num_threads()),
    )

    def faster(trainer: Any) -> None:
        torch.set_num_threads(thread_limit())  # it leaves one to workers, of which there are none
        if sys.platform == "linux":  # where it saves a fifth; on Windows it is slower
            trainer.model.to(memory_format=torch.channels_last)

    yolo.add_callback("on_train_start", faster)
    yolo.train(resume=resume, **options)
    return str(yolo.trainer.last)


def _export(told: Callable[..., None], start: str, **options: Any) -> str:
    return str(library().YOLO(start, task="detect").export(device="cpu", **options))


_TASKS: Mapping[str, Callable[..., str]] = {"train": _train, "export": _export}


@contextmanager
def _at(work: str, log: str) -> Iterator[None]:
    """Run in a folder and print to a log; the folder is free again when the block ends."""
    before = os.getcwd()
    _print_to(log)
    os.chdir(work)
    try:
        yield
    finally:
        os.chdir(before)


def _print_to(path: str) -> None:
    """Append what this process prints, compiled parts included, to a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    with open(path, "a") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)


def main() -> None:
    """Run the tasks that stdin orders, JSON lines, until it ends; report events as JSON lines.

    A task that fails ends the process, with the reason as the last words of its log.
    """
    orders, out = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    with open(os.devnull) as nothing:  # what the package starts shall not read orders
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)

    def told(**event: Any) -> None:
        print(json.dumps(event), file=out, flush=True)

    for line in orders:
        order = json.loads(line)
        with _at(order["work"], order["log"]):
            made = _TASKS[order["task"]](told, **order["options"])
        _print_to(os.devnull)  # the log may be removed
        told(done=made)


if __name__ == "__main__":
    main()
