"""Our tracker's settings in the benchmark."""

from wsperception.tracking import FullSettings, TrackerSettings

OURS: dict[str, TrackerSettings] = {
    # Eq. 3-4 on boxes alone: the embeddings are all alike. The threshold was chosen like all others.
    "paper": TrackerSettings(min_score=0.4),
    "full": TrackerSettings(min_score=0.6, association="full"),
    "full, no masks": TrackerSettings(min_score=0.6, association="full", full=FullSettings(mask_weight=0.0)),
}

CHOSEN = "full"
"""The setting that is held against the peers."""
