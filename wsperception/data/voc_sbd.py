"""SBD, the further segmentation labels of VOC 2011 images (Hariharan et al., ICCV 2011), in the published layout.

ROOT/inst/2008_000002.mat   GTinst: Segmentation (object numbers) and Categories (class of each object)
ROOT/img/2008_000002.jpg    camera image
ROOT/train.txt              names

ROOT is benchmark_RELEASE/dataset. There is no void and no difficult object.
"""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from wsperception.data.panoptic_labels import PanopticLabels, PanopticSet
from wsperception.data.voc import BOUNDARY, LABEL_SPACE, panoptic_of_voc, read_names
from wsperception.errors import InputError


def open_sbd(root: Path, image_set: str | None = None) -> PanopticSet:
    """The images of a set, by name (`2008_000002`).

    root       benchmark_RELEASE/dataset, or a folder that holds it
    image_set  train or val: a list in `root`; None: every image with labels

    Raises InputError where folders or the list are missing.
    """
    places = (root, root / "dataset", root / "benchmark_RELEASE" / "dataset")
    folder = next((place for place in places if (place / "inst").is_dir()), None)
    if folder is None:
        raise InputError(f"{root}: expected a folder inst with *.mat, as in SBD's benchmark_RELEASE/dataset")
    if image_set is not None:
        names = read_names(folder / f"{image_set}.txt")
    else:
        names = tuple(sorted(path.stem for path in (folder / "inst").glob("*.mat")))
    return PanopticSet(str(folder), LABEL_SPACE, names, partial(_read_named, folder))


def _read_named(folder: Path, name: str) -> PanopticLabels:
    path = folder / "inst" / f"{name}.mat"
    objects, categories = _read_mat(path)
    if objects.max(initial=0) > len(categories):
        raise InputError(f"{path}: Categories: expected one for each of {objects.max()} objects, got {len(categories)}")
    if categories.min(initial=1) < 1 or categories.max(initial=1) > len(LABEL_SPACE) - 1:
        raise InputError(f"{path}: Categories: expected 1 to {len(LABEL_SPACE) - 1}, got {categories.tolist()}")
    classes = np.append(0, categories).astype(np.uint8)[objects]
    image = folder / "img" / f"{name}.jpg"
    return panoptic_of_voc(name, classes, objects, frozenset(), str(path), image if image.is_file() else None)


def _read_mat(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """(H, W) uint8 object numbers and (K,) class of each."""
    from scipy.io import loadmat

    if not path.is_file():
        raise InputError(f"{path}: no such file; expected SBD's labels")
    try:
        entry: Any = loadmat(path)["GTinst"][0, 0]
        objects, categories = np.asarray(entry["Segmentation"]), np.asarray(entry["Categories"]).ravel()
    except (ValueError, KeyError, IndexError, TypeError, NotImplementedError, OSError) as error:
        raise InputError(f"{path}: expected GTinst with Segmentation and Categories: {error}") from None
    if objects.ndim != 2 or objects.min(initial=0) < 0 or objects.max(initial=0) >= BOUNDARY:
        raise InputError(f"{path}: Segmentation: expected (H, W) numbers below {BOUNDARY}, got shape {objects.shape}")
    return objects.astype(np.uint8), categories.astype(np.int64)
