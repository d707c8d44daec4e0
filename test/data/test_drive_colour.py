"""Colour alone must find no object: else a score on drives would say nothing."""

import numpy as np
import pytest

from wsperception.data.drive.canvas import SEMANTICS
from wsperception.data.drive.sequence import IGNORE_ID, Drive
from wsperception.data.drive.settings import DriveSettings

BINS = 16


def histograms(seeds: range) -> tuple[np.ndarray, np.ndarray]:
    """Colour histograms (BINS ** 3,) of objects and of background without sky; every frame weighs the same."""
    objects, background = np.zeros(BINS**3), np.zeros(BINS**3)
    frames = 0
    for seed in seeds:
        settings = DriveSettings(seed=seed, frames=2, height=125, width=414, rate_hz=0.5)
        for frame in Drive(settings).frames():
            thing = (frame.object_ids > 0) & (frame.object_ids != IGNORE_ID)
            stuff = (frame.object_ids == 0) & (frame.semantic != SEMANTICS.index("sky"))
            if thing.sum() < 100:
                continue
            colour = frame.image.astype(np.int64) * BINS // 256
            index = (colour[..., 0] * BINS + colour[..., 1]) * BINS + colour[..., 2]
            objects += np.bincount(index[thing], minlength=BINS**3) / thing.sum()
            background += np.bincount(index[stuff], minlength=BINS**3) / stuff.sum()
            frames += 1
    assert frames > len(seeds) // 2
    return objects / frames, background / frames


@pytest.fixture(scope="module")
def learned() -> tuple[np.ndarray, np.ndarray]:
    return histograms(range(100, 120))


def test_objects_and_background_share_their_colours(learned):
    # 1 = the same histogram, 0 = no colour in common.
    assert np.minimum(*learned).sum() > 0.6


def test_the_best_colour_classifier_is_near_chance_on_other_drives(learned):
    # Bayes' rule on the histograms of 20 drives, balanced accuracy on 12 others; 0.5 is chance.
    says_object = learned[0] > learned[1]
    objects, background = histograms(range(200, 212))
    accuracy = 0.5 * (objects[says_object].sum() + background[~says_object].sum())
    assert accuracy < 0.65
