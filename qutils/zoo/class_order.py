"""Which folder belongs to which output of a network: said, looked up, or refused; never guessed.

Folders as they are sorted are the classes of a network that was trained on those very folders, as
``torchvision.datasets.ImageFolder`` numbers them. One folder less or more shifts all that follow.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from qutils.errors import InvalidInputError, unknown_name
from qutils.zoo.imagenet import imagenet_wnids

#: Folders that operating systems and file servers leave behind.
SYSTEM = ("__MACOSX", "__pycache__", "@eaDir", "lost+found", "$RECYCLE.BIN")
_NAMED = 6


@dataclass(frozen=True)
class ClassOrder:
    """Names of folders in the order of a network's outputs, and where the order comes from."""

    names: tuple[str, ...]
    source: str  # "as given", "as the network names them", ...


@dataclass(frozen=True)
class ClassFolders:
    """The folders of a dataset, one a class: ``filled`` hold images, ``empty`` do not.

    An empty folder counts: it is a class whose images are elsewhere, or yet to come.
    """

    root: Path
    filled: tuple[str, ...]
    empty: tuple[str, ...] = ()

    @property
    def sorted(self) -> tuple[str, ...]:
        """All of them in the order of their names."""
        return tuple(sorted((*self.filled, *self.empty)))

    def order(
        self,
        classes: Sequence[str] | None = None,
        outputs: int | None = None,
        names: Sequence[str] | None = None,
    ) -> ClassOrder:
        """Return the order of the classes.

        It is that of ``classes``, if given; else of ``names``, if the network has as many as
        outputs and they include all folders; else ImageNet's, if all folders are called by its
        WordNet ids and the network has 1,000 outputs; else folders as they are sorted, if there is
        one for each output. Without ``outputs`` the number of folders is not compared.

        Raises:
            InvalidInputError: none of these; names twice; a folder that is not among the classes.
        """
        if classes is not None:
            return ClassOrder(self._given(tuple(classes), outputs), "as given")
        if names and len(names) == outputs and set(self.filled) <= set(names):
            _refuse_twice(names, "the network names")
            return ClassOrder(tuple(names), "as the network names them")
        wnids = imagenet_wnids()
        if outputs in (None, len(wnids)) and set(self.filled) <= set(wnids):
            return ClassOrder(wnids, "as ImageNet's")
        if names and len(names) == outputs:
            strange = [name for name in self.filled if name not in names]
            raise InvalidInputError(
                f"{self._counted} and the network names its {outputs} outputs {_listed(names)}: "
                f"{_listed(strange)} is not among them. {_FIX.format(outputs=outputs)}"
            )
        if outputs not in (None, len(self.sorted)):
            raise InvalidInputError(
                f"{self._counted}, but the network tells {outputs} classes apart: which folder is "
                f"which class is not known. {_FIX.format(outputs=outputs)}"
            )
        self._refuse_numbers()
        return ClassOrder(self.sorted, "as the folders are sorted")

    def _given(self, classes: tuple[str, ...], outputs: int | None) -> tuple[str, ...]:
        _refuse_twice(classes, "--classes names")
        for name in self.filled:
            if name not in classes:
                raise unknown_name(f"class in {self.root}", name, classes)
        if outputs not in (None, len(classes)):
            raise InvalidInputError(
                f"--classes names {len(classes)} classes, but the network tells {outputs} classes "
                f"apart. {_FIX.format(outputs=outputs)}"
            )
        return classes

    def _refuse_numbers(self) -> None:
        """Numbers sort otherwise as text, ``10`` before ``2``: which order was meant is open."""
        if not all(name.isdecimal() for name in self.sorted):
            return
        by_value = sorted(self.sorted, key=int)
        if by_value != list(self.sorted):
            raise InvalidInputError(
                f"{self._counted}. These numbers have another order as text, {_listed(self.sorted)}"
                f", than by value. {_FIX.format(outputs=len(self.sorted))}"
            )

    @property
    def _counted(self) -> str:
        empty = f", {len(self.empty)} of them empty" if self.empty else ""
        return f"{self.root} holds {len(self.sorted)} folders{empty} ({_listed(self.sorted)})"


_FIX = (
    "Name all {outputs} classes in the order of the outputs with --classes (classes=[...] in "
    "Python)."
)


def is_class_folder(name: str) -> bool:
    """Return False for hidden folders and those of ``SYSTEM``.

    >>> is_class_folder("cat"), is_class_folder(".cache"), is_class_folder("__MACOSX")
    (True, False, False)
    """
    return not name.startswith(".") and name not in SYSTEM


def _refuse_twice(names: Sequence[str], who: str) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise InvalidInputError(
            f"{who} {_listed(twice)} more than once. Give each class a name of its own."
        )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + ", ..." * (len(names) > _NAMED)
