"""The masks that a network trained on image tags finds in an image: for scores, and as pseudo masks."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from wsperception.data.clips import ClipFrame, ClipSettings
from wsperception.data.labelled_frames import LabelledFrame
from wsperception.data.sources.image_file import read_image
from wsperception.learn.methods import community, jtsm
from wsperception.learn.points.wise_masks import FoundMasks
from wsperception.learn.proposals.segments import Proposals, segment_proposals
from wsperception.learn.tags import community_inference, jtsm_inference
from wsperception.learn.tags.community_inference import FoundInstances, find_instances, replaced_by_proposals
from wsperception.learn.tags.jtsm_inference import painted_things, panoptic_segments
from wsperception.learn.tags.segmented_image import segmented_image
from wsperception.learn.tags.tagged_image import TaggedImage, chosen_boxes
from wsperception.nets.community_net import CommunityNet
from wsperception.nets.jtsm_net import JtsmNet
from wsperception.preprocess import letterbox
from wsperception.types import SegmentMap

INSTANCES, REPLACED, THINGS = "instances", "replaced", "things"
TAG_KINDS = (INSTANCES, REPLACED, THINGS)
"""Whose masks: of Community Learning its own, and replaced by the proposals that they overlap most; of JTSM those of
things, without overlap."""

PSEUDO_SHARE = 0.5
"""Score over the best of its class in the image from which on a detection becomes a pseudo mask: what training takes
for foreground (methods.community.Settings.foreground_share)."""

MOST_HIDDEN = 0.5
"""Share of a pseudo mask that better ones may hide, as in JTSM's merge."""

Network = CommunityNet | JtsmNet


@dataclass(frozen=True, eq=False)
class Picture:
    """An image to look at.

    image   (H, W, 3) uint8 RGB
    tags    (C,) bool   its classes where they are known: no other is looked for then, and of each only what is about as
                        sure as the best
    source  for messages
    """

    image: np.ndarray
    tags: np.ndarray | None
    source: str


def tag_kinds(net: Network, settings: Any) -> dict[str, Callable[[ClipFrame], FoundMasks]]:
    """Kind of masks -> how they are found in a sample, at whose tags nobody looks."""

    def found(sample: ClipFrame) -> FoundInstances:
        assert isinstance(net, CommunityNet)
        return community_instances(net, settings, _untagged(sample))

    def replaced(sample: ClipFrame) -> FoundInstances:
        return replaced_by_proposals(found(sample), segment_proposals(sample.image, settings.segments))

    def things(sample: ClipFrame) -> FoundMasks:
        segments = tag_segments(net, settings, _untagged(sample))
        rows = np.flatnonzero((segments.class_ids >= 0) & (segments.class_ids < thing_count(net)))
        parts: np.ndarray = segments.ids[None] == rows[:, None, None]
        return FoundMasks(parts, segments.class_ids[rows].astype(np.int64), segments.scores[rows])

    if isinstance(net, JtsmNet):
        return {THINGS: things}
    return {INSTANCES: lambda sample: _masks(found(sample)), REPLACED: lambda sample: _masks(replaced(sample))}


def tag_segments(net: Network, settings: Any, picture: Picture) -> SegmentMap:
    """Disjoint segments of a picture: things, and JTSM's stuff."""
    if isinstance(net, JtsmNet):
        return jtsm_segments(net, settings, picture)
    found = community_instances(net, settings, picture)
    return painted_things(found.masks, found.boxes, found.scores, found.class_ids, MOST_HIDDEN)


def community_instances(net: CommunityNet, settings: community.Settings, picture: Picture) -> FoundInstances:
    """Instances of a picture, at the scales of training."""
    proposals = _proposals(picture.image, settings)
    boxes = proposals.boxes[chosen_boxes(proposals.boxes, settings.choice)]
    inference = community_inference.InferenceSettings(
        scales=settings.scales, flip=settings.flip, mask_threshold=settings.mask_threshold
    )
    if picture.tags is not None:
        inference = replace(inference, known_tags=True, min_share=PSEUDO_SHARE)
    return find_instances(net, TaggedImage(picture.image, _tags(net, picture), boxes, picture.source), inference)


def jtsm_segments(net: JtsmNet, settings: jtsm.Settings, picture: Picture) -> SegmentMap:
    """Segments of a picture, at the scales of training."""
    proposals = _proposals(picture.image, settings)
    inference = jtsm_inference.InferenceSettings(scales=settings.scales, flip=settings.flip)
    if picture.tags is not None:  # compared with the best of their class, not with a threshold
        inference = replace(inference, known_tags=True, min_share=PSEUDO_SHARE, min_score=0.0)
    limit, tags = settings.proposal_limit, _tags(net, picture)
    return panoptic_segments(net, segmented_image(picture.image, tags, proposals, limit, picture.source), inference)


def tag_masks(net: Network, settings: Any, data: ClipSettings, frame: LabelledFrame) -> tuple[np.ndarray, np.ndarray]:
    """Pseudo masks of a frame: (H, W) uint16, 0 background, from 1 the numbers of its things; and their classes (N,).

    A thing of the tags of which nothing was found stands at the end, and has no pixel.
    """
    assert frame.weak is not None and frame.weak.tags is not None
    image = read_image(frame.path)
    picture, placing = letterbox(image, data.input_size)
    rows, columns = placing.content_size
    content = np.ascontiguousarray(picture[:rows, :columns])
    found = tag_segments(net, settings, Picture(content, frame.weak.tags, str(frame.path)))
    things = int((found.class_ids < thing_count(net)).sum()) - 1  # the first rows after void
    ids = np.where(found.ids <= things, found.ids, 0).astype(np.uint16)
    resized: np.ndarray = cv2.resize(ids, image.shape[1::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    classes = found.class_ids[1 : things + 1].astype(np.int64)
    missing = np.setdiff1d(np.flatnonzero(frame.weak.tags[: thing_count(net)]), classes)
    return resized, np.concatenate([classes, missing])


def _proposals(image: np.ndarray, settings: community.Settings | jtsm.Settings) -> Proposals:
    return segment_proposals(image, settings.segments).at_most(settings.largest_segment)


def _tags(net: Network, picture: Picture) -> np.ndarray:
    return np.zeros(net.class_count, bool) if picture.tags is None else picture.tags


def _untagged(sample: ClipFrame) -> Picture:
    return Picture(sample.image, None, sample.source)


def _masks(found: FoundInstances) -> FoundMasks:
    return FoundMasks(found.masks, found.class_ids, found.scores)


def thing_count(net: Network) -> int:
    """How many of the classes, the first ones, are things."""
    return net.thing_count if isinstance(net, JtsmNet) else net.class_count
