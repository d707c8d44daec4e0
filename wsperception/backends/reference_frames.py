"""Frames on which an engine is compared with its ONNX file. They are made, not shipped: the same on every machine."""

from collections.abc import Sequence

import numpy as np

from wsperception.backends import EngineOptions, Network
from wsperception.backends.contract import copied
from wsperception.backends.quality_gate import Agreement, agreement, lowest_compared
from wsperception.bundle import ModelBundle
from wsperception.decode import RawOutputs
from wsperception.preprocess import letterbox

SCENES = ("traffic", "crowd")
FRAMES_PER_SCENE = 2
SEED = 20261121


def reference_images(bundle: ModelBundle) -> np.ndarray:
    """Frames (B, h, w, 3) uint8 of synthetic streets with cars and people, a second apart, letterboxed."""
    from wsperception.data.drive.sequence import Drive
    from wsperception.data.drive.settings import DriveSettings

    drives = [
        Drive(DriveSettings(seed=SEED + number, frames=FRAMES_PER_SCENE, rate_hz=1.0, scene=scene))
        for number, scene in enumerate(SCENES)
    ]
    return np.stack([letterbox(frame.image, bundle.input_size)[0] for drive in drives for frame in drive.frames()])


def reference_outputs(bundle: ModelBundle, images: np.ndarray) -> list[RawOutputs]:
    """What ONNX Runtime finds in them, in FP32. Raises InputError where it cannot run the bundle."""
    from wsperception.backends.onnx_ import load

    backend = load(bundle, EngineOptions(precision="fp32"))
    try:
        return _outputs(backend, images)
    finally:
        backend.close()


def measured_agreement(network: Network, bundle: ModelBundle) -> Agreement:
    """How far a loaded engine's detections lie from ONNX Runtime's, on the reference frames."""
    images = reference_images(bundle)
    reference = reference_outputs(bundle, images)
    lowest = lowest_compared(reference, bundle.thresholds.score)
    return agreement(reference, _outputs(network, images), lowest)


def _outputs(network: Network, images: Sequence[np.ndarray] | np.ndarray) -> list[RawOutputs]:
    """One image at a time, because outputs are valid until the next call only."""
    found = []
    for image in images:
        (raw,) = network.run(image[None])
        found.append(copied(raw))
    return found
