"""Which photographs a folder holds, and which classes the names of its folders say."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path

from qutils.errors import InvalidInputError
from qutils.zoo.class_order import ClassFolders, is_class_folder
from qutils.zoo.photographs import NAMED, Photograph, Photographs, refuse_damaged
from qutils.zoo.preprocessing import Preprocessing

#: Endings that are taken for pictures, in any case.
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm")


def read_photographs(
    folder: Path | str,
    preprocessing: Preprocessing | None = None,
    classes: Sequence[str] | None = None,
    *,
    outputs: int | None = None,
) -> Photographs:
    """The pictures in a folder, or in folders named by class inside it, in the order of names.

    Only heads of files are read now; iterating decodes. Pictures smaller than the network's input
    are enlarged, with one warning.

    Args:
        preprocessing: what the network wants; ImageNet's usual one if None.
        classes: names of folders in the order of the network's outputs. None: ImageNet's 1,000
            where all folders are called by WordNet ids, else the folders as they are sorted, empty
            ones included.
        outputs: how many classes the network tells apart. Give it wherever labels are used: it is
            compared with the classes. To calibrate, leave it out.

    Raises:
        InvalidInputError: no folder, no pictures, pictures beside folders of pictures, a folder
            that is no class, or a number of classes that is not that of the outputs.
        DataError: files that are no pictures: one error counts them and names the first.
    """
    folder, preprocessing = Path(folder), preprocessing or Preprocessing()
    if not folder.is_dir():
        raise InvalidInputError(f"{folder} is no folder: name one that holds pictures")
    files, others = _listed(folder)
    if not files:
        raise InvalidInputError(
            f"{folder} holds no pictures ({', '.join(SUFFIXES)}), neither itself nor in folders "
            "named by class"
        )
    if len({path.parent == folder for path in files}) == 2:
        raise InvalidInputError(
            f"{folder} holds pictures beside folders of pictures: give a folder of pictures, or "
            "one of folders, one a class"
        )
    members = tuple(Photograph(path) for path in files)
    small = _small(members, preprocessing)
    if files[0].parent == folder:
        return Photographs(members, preprocessing, small=small, others=others)
    filled = tuple(sorted({path.parent.name for path in files}))
    empty = tuple(name for name in class_folders(folder) if name not in filled)
    folders = ClassFolders(folder, filled, empty)
    found = Photographs(members, preprocessing, small=small, others=others, folders=folders)
    return found.labelled(folders.order(classes, outputs))


def holds_pictures(folder: Path) -> bool:
    """Whether a folder, or a folder inside it, holds at least one picture."""
    return folder.is_dir() and bool(_listed(folder)[0])


def class_folders(folder: Path) -> list[str]:
    """Names of the folders inside, sorted: each is a class, though it may hold no pictures."""
    return sorted(p.name for p in folder.iterdir() if p.is_dir() and is_class_folder(p.name))


def _listed(folder: Path) -> tuple[list[Path], tuple[Path, ...]]:
    """Pictures and other files of a folder and of those inside it, hidden ones left out."""
    found = []
    for path in sorted(folder.iterdir()):
        if path.is_dir() and is_class_folder(path.name):
            with os.scandir(path) as inside:
                found += sorted(Path(one.path) for one in inside if one.is_file())
        elif path.is_file():
            found.append(path)
    found = [path for path in found if not path.name.startswith(".")]
    pictures = [path for path in found if path.suffix.lower() in SUFFIXES]
    others = tuple(path for path in found if path.suffix.lower() not in SUFFIXES)
    return pictures, others


def _small(members: tuple[Photograph, ...], preprocessing: Preprocessing) -> tuple[Path, ...]:
    """Those whose short side is below the input's; warns of them, refuses files of other kinds."""
    least = max(preprocessing.height, preprocessing.width)
    sizes: dict[Path, int] = {}

    def read(one: Photograph) -> None:
        sizes[one.path] = min(one.size())

    refuse_damaged(members, read)
    small = tuple(path for path, side in sizes.items() if side < least)
    if small:
        names = ", ".join(path.name for path in small[:NAMED])
        more = ", ..." if len(small) > NAMED else ""
        warnings.warn(
            f"{len(small):,} of {len(members):,} pictures are smaller than the input of "
            f"{preprocessing.height}x{preprocessing.width} and are enlarged: {names}{more}",
            stacklevel=3,
        )
    return small
