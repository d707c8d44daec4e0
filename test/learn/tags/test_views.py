"""What both methods of tags set for looking at an image."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("skimage")

from wsperception.errors import InputError  # noqa: E402
from wsperception.learn.tags import community_inference, jtsm_inference  # noqa: E402
from wsperception.learn.tags.views import ViewSettings  # noqa: E402


def test_every_scale_is_seen_and_mirrored_where_asked_for():
    assert ViewSettings(scales=(64, 32)).views() == [(64, False), (64, True), (32, False), (32, True)]
    assert ViewSettings(scales=(64, 32), flip=False).views() == [(64, False), (32, False)]


def test_tags_count_where_they_are_known():
    # Of the second class the best is 0.4, so that 0.1 is less than half of it.
    scores = torch.tensor([[0.2, 0.4, 0.3], [0.1, 0.1, 0.2]])
    tags = np.array([True, True, False])
    assert ViewSettings().allowed(tags) is None
    assert torch.equal(ViewSettings().likely(scores, tags), scores)
    known = ViewSettings(known_tags=True, min_share=0.5)
    assert known.likely(scores, tags).tolist() == torch.tensor([[0.2, 0.4, 0.0], [0.1, 0.0, 0.0]]).tolist()


@pytest.mark.parametrize("method", [community_inference, jtsm_inference])
def test_settings_of_each_method_name_what_is_wrong(method):
    with pytest.raises(InputError, match="scales: expected at least one, got none"):
        method.InferenceSettings(scales=())
    with pytest.raises(InputError, match="nms: expected 0 to 1, got 3"):
        method.InferenceSettings(nms=3.0)
    with pytest.raises(InputError, match="min_share: expected 0 to 1, got 2"):
        method.InferenceSettings(min_share=2.0)


def test_scales_are_those_of_each_paper():
    assert community_inference.InferenceSettings().scales == ViewSettings().scales == (480, 576, 688, 864, 1000)
    assert jtsm_inference.InferenceSettings().scales == (480, 576, 688, 864, 1200)
