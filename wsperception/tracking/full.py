"""The full association: motion, masks, appearance, low scores and gaps. Its limits are times, not counts of frames."""

import dataclasses

import numpy as np

from wsperception.geometry import clip_boxes
from wsperception.tracking import motion as kalman
from wsperception.tracking import terms
from wsperception.tracking.adoption import PATIENCE, STAMP_JITTER_S, beside, closeness, hidden, missing
from wsperception.tracking.assignment import assign
from wsperception.tracking.common_motion import common_shift, shared_velocity
from wsperception.tracking.found import NO_LABELS, Found, found_in
from wsperception.tracking.full_tracks import FullTracks, joined
from wsperception.tracking.gallery import Gallery
from wsperception.tracking.identity import IdCounter
from wsperception.tracking.motion import Motion
from wsperception.tracking.settings import FullSettings, TrackerSettings
from wsperception.types import Instances

SETTLED_S = 0.25
"""A track knows its speed when it has been seen for this long."""
SCORE_MEMORY = 0.6
"""Share of a track's score that the next one leaves."""


def follow(
    tracks: FullTracks,
    instances: Instances,
    stamp_ns: int,
    label_map: np.ndarray,
    settings: TrackerSettings,
    counter: IdCounter,
) -> tuple[FullTracks, np.ndarray]:
    """One frame: the tracks after it and the ids (N,) int32 of its detections, 0 for those that have none (yet).

    stamp_ns   not before `tracks.stamp_ns`
    label_map  (H, W) uint16, row + 1 of the instance that a pixel shows; NO_LABELS: masks say nothing
    """
    full = settings.full
    seconds = (stamp_ns - tracks.stamp_ns) / 1e9
    tracks = _aged(tracks, stamp_ns, full, instances.image_size)
    found = found_in(instances, label_map if full.mask_weight > 0 else NO_LABELS)
    if full.common_motion and len(tracks):
        tracks = _turned(tracks, found, seconds, settings)
    partner = _associate(tracks, found, stamp_ns, seconds, settings)  # (N,) track row, -1 = none
    rows = (partner >= 0).nonzero()[0]
    tracks = _seen(tracks, partner[rows], found, rows, stamp_ns, full)
    new = _births(found, partner, settings)
    if len(new):
        partner[new] = len(tracks) + np.arange(len(new))
        tracks = joined(tracks, _born(found, new, stamp_ns, full, _shared_velocity(tracks, full)))
    tracks = _confirmed(tracks, partner, found, settings, counter)
    ids = np.zeros(len(instances), np.int32)
    rows = (partner >= 0).nonzero()[0]
    ids[found.order[rows]] = tracks.ids[partner[rows]]
    return tracks, ids


def _aged(tracks: FullTracks, stamp_ns: int, full: FullSettings, image_size: tuple[int, int]) -> FullTracks:
    """The tracks that still live at `stamp_ns`, moved there."""
    unseen_s = (stamp_ns - tracks.last_ns) / 1e9
    longest = max(full.lost_s, full.refind_s) if tracks.gallery.informative else full.lost_s
    living = unseen_s <= np.where(tracks.ids > 0, longest, full.tentative_s)
    if not living.all():
        tracks = tracks.select(living.nonzero()[0])
    seconds = (stamp_ns - tracks.stamp_ns) / 1e9
    carried = tracks.last_ns < tracks.stamp_ns
    slowdown = np.where(carried, np.exp(-seconds / full.slowdown_s), 1.0)
    size_slowdown = float(np.exp(-seconds / full.size_slowdown_s))
    motion = kalman.predicted(tracks.motion, seconds, full.acceleration_noise, slowdown, size_slowdown)
    return dataclasses.replace(tracks, motion=motion, stamp_ns=stamp_ns)


def _turned(tracks: FullTracks, found: Found, seconds: float, settings: TrackerSettings) -> FullTracks:
    """The tracks, moved by what all of them have moved beyond their prediction."""
    full = settings.full
    recent = ((tracks.stamp_ns - tracks.last_ns) / 1e9 <= full.low_lost_s).nonzero()[0]
    strong = found.scores >= settings.high_score
    shift = common_shift(
        kalman.corners(tracks.motion.position[recent]),
        tracks.class_ids[recent],
        found.boxes[strong],
        found.class_ids[strong],
        found.image_size[1],
    )
    if not shift.any():
        return tracks
    return dataclasses.replace(tracks, motion=kalman.shifted(tracks.motion, shift, seconds))


def _associate(
    tracks: FullTracks, found: Found, stamp_ns: int, seconds: float, settings: TrackerSettings
) -> np.ndarray:
    """Row of the track (N,) int that each detection goes on with, -1 = none."""
    full = settings.full
    partner = np.full(len(found.scores), -1)
    if len(tracks) == 0 or len(partner) == 0:
        return partner
    unseen_s = (stamp_ns - tracks.last_ns) / 1e9
    strong = found.scores >= settings.high_score
    weak = (found.scores >= full.low_score) & ~strong
    sim = similarity(tracks, found, seconds, full)
    _match(sim, unseen_s <= full.lost_s, strong, full.min_similarity, partner)
    if weak.any():
        _match(sim, _free(tracks, partner) & (unseen_s <= full.low_lost_s), weak, full.min_similarity, partner)
    if tracks.gallery.informative and full.refind_s > 0:
        free = _free(tracks, partner) & (tracks.ids > 0) & (unseen_s <= full.refind_s)
        _find_again(tracks, free.nonzero()[0], found, (strong & (partner < 0)).nonzero()[0], full, partner)
    _adopt(tracks, found, partner, settings)
    return partner


def similarity(tracks: FullTracks, found: Found, seconds: float, full: FullSettings) -> np.ndarray:
    """(T, N) float32 in [0, 1]: the weighted mean of the terms that have something to say; 0 where none may match.

    No overlap of boxes, no pair: the other terms only rank. A track that was missing in
    the frame before, `seconds` ago, already counts less, down to nothing after lost_s.
    """
    places = clip_boxes(kalman.corners(tracks.motion.position), found.image_size)
    margin = terms.margins(tracks.motion, full.uncertainty_margin)
    touching = terms.widened_iou(places, found.boxes, margin)
    alike = terms.same_size(places, found.boxes, full.size_gate)
    alike &= tracks.class_ids[:, None] == found.class_ids
    touching *= alike
    lines, columns = (touching > 0.0).nonzero()
    parts: list[tuple[float | np.ndarray, np.ndarray]] = [(1.0, touching[lines, columns])]
    if found.label_map.size:
        near = np.flatnonzero(touching.any(axis=1))  # often half of the tracks
        shapes, row_of = tracks.shapes[near], np.zeros(len(tracks), np.intp)
        row_of[near] = np.arange(len(near))
        overlap = terms.mask_overlap(shapes, places[near], found.label_map, found.all_shapes, found.all_boxes)
        weight = full.mask_weight * terms.sureness(tracks.motion, full.mask_doubt)
        parts.append((weight[lines], overlap[row_of[lines], found.order[columns]]))
    if full.appearance_weight > 0 and tracks.gallery.informative:
        cosine = terms.likeness(tracks.gallery.embeddings, found.embeddings, lines, columns)
        parts.append((full.appearance_weight, cosine))
    absent_s = (tracks.stamp_ns - tracks.last_ns) / 1e9 - seconds
    fresh = np.minimum(np.maximum(1.0 - absent_s / max(full.lost_s, 1e-3), 0.0), 1.0).astype(np.float32)
    touching[lines, columns] = terms.combined(parts) * fresh[lines]
    return touching


def _free(tracks: FullTracks, partner: np.ndarray) -> np.ndarray:
    """(T,) bool: tracks that have no partner yet."""
    free = np.ones(len(tracks), bool)
    free[partner[partner >= 0]] = False
    return free


def _match(sim: np.ndarray, tracks: np.ndarray, detections: np.ndarray, limit: float, partner: np.ndarray) -> None:
    """Writes the best matching of the `tracks` (T,) bool and `detections` (N,) bool into `partner`."""
    chosen, partners = assign(sim * (tracks[:, None] & detections[None, :]), limit)
    partner[partners] = chosen


def _find_again(
    tracks: FullTracks, lines: np.ndarray, found: Found, columns: np.ndarray, full: FullSettings, partner: np.ndarray
) -> None:
    """Writes pairs of lost tracks and detections that look alike, and like nobody else, into `partner`."""
    if not (len(lines) and len(columns)):
        return
    shape = len(lines), len(columns)
    every = np.zeros(shape, np.intp)
    pairs = (every + lines[:, None]).ravel(), (every + columns).ravel()
    cosine = terms.likeness(tracks.gallery.embeddings, found.embeddings, *pairs).reshape(shape)
    cosine *= tracks.class_ids[lines][:, None] == found.class_ids[columns][None, :]
    best = cosine.argmax(axis=1)
    rows = np.arange(len(lines))
    value = cosine[rows, best]
    rivals = cosine.copy()
    rivals[rows, best] = 0.0
    margin = value - np.maximum(rivals.max(axis=1), rivals[:, best].max(axis=0))
    mutual = cosine.argmax(axis=0)[best] == rows
    sure = mutual & (value >= full.refind_min_cosine) & (margin >= full.refind_margin)
    partner[columns[best[sure]]] = lines[sure]


def _adopt(tracks: FullTracks, found: Found, partner: np.ndarray, settings: TrackerSettings) -> None:
    """Writes pairs of absent tracks and detections near them that would begin a track into `partner`.

    What has been missing for longer than adopt_s is waited for only where something hides it.
    """
    full = settings.full
    columns = _births(found, partner, settings)
    lines = missing(tracks, _free(tracks, partner), max(full.adopt_s, full.lost_s)) if full.adopt_s > 0 else columns[:0]
    if not (len(lines) and len(columns)):
        return
    unseen_s = (tracks.stamp_ns - tracks.last_ns[lines]) / 1e9
    awaited = unseen_s <= full.adopt_s + STAMP_JITTER_S
    if not awaited.all():
        awaited |= hidden(tracks.motion.select(lines), found.boxes[found.scores >= settings.high_score])
        lines, unseen_s = lines[awaited], unseen_s[awaited]
    reach = full.adopt_reach + full.adopt_speed * np.minimum(unseen_s, full.adopt_s)
    boxes, class_ids, scores = found.boxes[columns], found.class_ids[columns], found.scores[columns]
    close = closeness(tracks.select(lines), boxes, class_ids, scores, found.image_size, reach)
    if full.appearance_weight > 0 and tracks.gallery.informative:
        pairs = close.nonzero()
        alike = terms.likeness(tracks.gallery.embeddings, found.embeddings, lines[pairs[0]], columns[pairs[1]])
        close[pairs] -= np.float32(full.appearance_weight) * (1.0 - alike)
    chosen, partners = assign(close, 0.0)
    partner[columns[partners]] = lines[chosen]


def _seen(
    tracks: FullTracks, seen: np.ndarray, found: Found, rows: np.ndarray, stamp_ns: int, full: FullSettings
) -> FullTracks:
    """The tracks after those at `seen` were seen as the detections at `rows`."""
    if len(seen) == 0:
        return tracks
    noise = full.measurement_noise * (1.0 + full.score_noise * (1.0 - found.scores[rows]))
    before = tracks.motion.select(seen)
    boxes = kalman.completed(found.boxes[rows], kalman.corners(before.position), found.image_size)
    part = kalman.corrected(before, kalman.centred(boxes), noise)
    position, velocity = tracks.motion.position.copy(), tracks.motion.velocity.copy()
    spread, shapes, last_ns = tracks.motion.spread.copy(), tracks.shapes.copy(), tracks.last_ns.copy()
    position[seen], velocity[seen], spread[:, seen] = part.position, part.velocity, part.spread
    shapes[seen] = found.shapes[rows]
    last_ns[seen] = stamp_ns
    scores = tracks.scores.copy()
    scores[seen] = SCORE_MEMORY * scores[seen] + (1.0 - SCORE_MEMORY) * found.scores[rows]
    gallery = tracks.gallery.with_seen(seen, found.embeddings[rows], stamp_ns, full.gallery_spacing_s)
    motion = Motion(position, velocity, spread)
    return dataclasses.replace(tracks, motion=motion, shapes=shapes, last_ns=last_ns, scores=scores, gallery=gallery)


def _births(found: Found, partner: np.ndarray, settings: TrackerSettings) -> np.ndarray:
    """Detections that begin a track."""
    births: np.ndarray = ((partner < 0) & (found.scores >= settings.min_score)).nonzero()[0]
    return births


def _born(found: Found, new: np.ndarray, stamp_ns: int, full: FullSettings, velocity: np.ndarray) -> FullTracks:
    stamps = np.full(len(new), stamp_ns, np.int64)
    return FullTracks(
        np.zeros(len(new), np.int32),
        found.class_ids[new],
        kalman.started(kalman.centred(found.boxes[new]), velocity, full.measurement_noise, full.initial_speed),
        stamps,
        stamps,
        found.scores[new],
        found.shapes[new],
        Gallery.of(found.embeddings[new], stamp_ns, full.gallery_size),
        stamp_ns,
    )


def _shared_velocity(tracks: FullTracks, full: FullSettings) -> np.ndarray:
    """(4,) what new tracks are believed to move like."""
    known = (tracks.last_ns == tracks.stamp_ns) & (tracks.last_ns - tracks.first_ns >= SETTLED_S * 1e9)
    return shared_velocity(tracks.motion, known) if full.common_motion else np.zeros(4)


def _confirmed(
    tracks: FullTracks, partner: np.ndarray, found: Found, settings: TrackerSettings, counter: IdCounter
) -> FullTracks:
    """The tracks, with ids for those that have now been seen for long enough or clearly enough."""
    full = settings.full
    rows = (partner >= 0).nonzero()[0]
    tentative = rows[tracks.ids[partner[rows]] == 0]
    if len(tentative) == 0:
        return tracks
    lines = partner[tentative]
    age_s = (tracks.last_ns[lines] - tracks.first_ns[lines]) / 1e9
    clear = found.scores[tentative] >= full.confirm_score
    wait_s = np.full(len(tentative), full.confirm_s)
    absent = missing(tracks, tracks.ids > 0, full.adopt_s)
    if len(absent):
        # It may be the one that is missing, or a false detection beside it: more sightings tell, and the other may be
        # back by then.
        doubtful = beside(tracks.select(absent), found.boxes[tentative], found.class_ids[tentative])
        wait_s[doubtful] *= PATIENCE
        clear &= ~doubtful
    sure = (age_s >= wait_s - STAMP_JITTER_S) & (found.scores[tentative] >= settings.confirm_again_score) | clear
    ids = tracks.ids.copy()
    ids[lines[sure]] = counter.take(int(sure.sum()), ids, settings.max_id)
    return dataclasses.replace(tracks, ids=ids)
