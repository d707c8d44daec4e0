"""Settings of the tracker: the paper's association, the full one, and camera motion."""

from dataclasses import dataclass, field

from wsperception.settings import check, setting


@dataclass(frozen=True)
class FullSettings:
    """The full association. Times are seconds and noise is relative to the box, so that they hold at any frame rate.

    The defaults were chosen on degraded ground truth of KITTI MOTS at 10 Hz, see benchmarks/tracking.
    """

    high_score: float = setting(
        0.3, "Detections from this score are matched first; they begin a track only from the tracker's min_score",
        low=0.0, high=1.0,
    )  # fmt: skip
    low_score: float = setting(
        0.1, "Detections from this score up to high_score may go on with what they leave, never begin a track",
        low=0.01, high=1.0,
    )  # fmt: skip
    confirm_s: float = setting(
        0.1,
        "A track gets its id when it has been seen for this long, twice as long where another is missing nearby, see "
        "confirm_again_score; 0: at once",
        unit="s",
        low=0.0,
        high=10.0,
    )
    confirm_again_score: float = setting(
        0.5, "and is now seen with this score or more; the tracker's min_score where that is less", low=0.0, high=1.0
    )
    confirm_score: float = setting(
        0.95, "A track gets its id at once when it is seen with this score or more and none is missing nearby",
        low=0.0, high=1.0,
    )  # fmt: skip
    tentative_s: float = setting(
        0.45, "A track without an id ends when it is not seen for longer than this", unit="s", low=0.0, high=10.0
    )
    lost_s: float = setting(
        1.2, "A track is carried by its motion for this long after it was last seen", unit="s", low=0.0, high=60.0
    )
    refind_s: float = setting(
        3.0, "A track may be found again by appearance alone for this long after it was last seen",
        unit="s", low=0.0, high=600.0,
    )  # fmt: skip
    low_lost_s: float = setting(
        0.9, "Low-score detections go on with tracks that were seen in the last so many seconds",
        unit="s", low=0.0, high=60.0,
    )  # fmt: skip
    adopt_s: float = setting(
        0.35,
        "Before a track begins, one nearby that was not seen for up to this long, or for up to lost_s where something "
        "hides it, is gone on with; 0: never",
        unit="s",
        low=0.0,
        high=60.0,
    )
    adopt_reach: float = setting(
        1.5, "Nearby is this far, in sides of the box that is missing (the root of its area)", low=0.0, high=100.0
    )
    adopt_speed: float = setting(
        5.0, "and so many sides more per second that it was not seen", unit="1/s", low=0.0, high=1000.0
    )
    mask_weight: float = setting(
        1.0, "Weight of the overlap of masks where a track's place is sure, that of boxes is 1; 0: not computed",
        low=0.0, high=100.0,
    )  # fmt: skip
    mask_doubt: float = setting(
        0.15,
        "That weight falls to 1/e where the standard deviation of the place predicted is this share of the box's side",
        low=1e-3, high=1e3,
    )  # fmt: skip
    appearance_weight: float = setting(
        1.0, "Weight of the likeness of embeddings, where the model gives any; that of boxes is 1", low=0.0, high=100.0
    )
    min_similarity: float = setting(
        0.15,
        "Pairs with less are not matched; the similarity falls to 0 for a track unseen for lost_s",
        low=0.0,
        high=1.0,
    )
    refind_min_cosine: float = setting(
        0.8, "Lowest cosine of embeddings at which a lost track is found again", low=0.0, high=1.0
    )
    refind_margin: float = setting(
        0.1, "Finding again needs a cosine this much better than that of the next candidate", low=0.0, high=1.0
    )
    uncertainty_margin: float = setting(
        1.0,
        "Boxes are widened by so many standard deviations of the place predicted before their overlap is taken",
        low=0.0,
        high=10.0,
    )
    size_gate: float = setting(5.0, "Areas of track and detection may differ by this factor", low=1.0, high=1000.0)
    measurement_noise: float = setting(
        0.05, "Standard deviation of a detected box, as share of its side", low=1e-3, high=1.0
    )
    score_noise: float = setting(
        1.0, "A box detected with score s is 1 + score_noise (1 - s) times as uncertain", low=0.0, high=10.0
    )
    acceleration_noise: float = setting(
        1.2, "Spectral density of the acceleration's noise, in sides per s^1.5", low=1e-3, high=100.0
    )
    initial_speed: float = setting(
        3.0, "Standard deviation of the speed of a new track, in sides per second", unit="1/s", low=1e-3, high=100.0
    )
    slowdown_s: float = setting(
        3.0, "The speed of an unseen track fades with this time constant", unit="s", low=1e-3, high=1e3
    )
    size_slowdown_s: float = setting(
        0.4, "A track stops growing or shrinking with this time constant, seen or not", unit="s", low=1e-3, high=1e3
    )
    common_motion: bool = setting(
        True, "See a turn of the camera in the detections: what all objects move alike is taken into account"
    )
    gallery_size: int = setting(6, "Embeddings that a track keeps", low=1, high=100)
    gallery_spacing_s: float = setting(0.3, "Time between two embeddings in the gallery", unit="s", low=0.0, high=60.0)
    nominal_interval_s: float = setting(
        0.1, "Time between frames where their stamps do not tell", unit="s", low=1e-3, high=60.0
    )

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class CameraMotionSettings:
    """How the motion of the camera is measured in the image, for the full association."""

    method: str = setting(
        "off", "off (a still camera, or no time for it), flow (sparse optical flow) or ecc (whole image)",
        choices=("off", "flow", "ecc"),
    )  # fmt: skip
    width: int = setting(320, "Images are shrunk to this width first", unit="pixels", low=64, high=4096)

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class TrackerSettings:
    """Defaults are those of WSMOTS, Table 1; `min_similarity` and `max_id` are ours."""

    min_score: float = setting(
        0.9, "Detections with a lower score are not tracked; under the full association they begin no track",
        low=0.0, high=1.0,
    )  # fmt: skip
    window: int = setting(
        10, "A track ends when it was not seen for more frames than this", unit="frames", low=1, high=10_000
    )
    min_similarity: float = setting(
        0.0, "Pairs whose similarity (box IoU times cosine) is this or less are never matched", low=0.0, high=1.0
    )
    max_id: int = setting(65535, "After this id counting starts again at 1, skipping living tracks", low=1, high=65535)
    association: str = setting(
        "paper",
        "paper (WSMOTS Eq. 3 and 4) or full (motion, low scores, gaps)",
        choices=("paper", "full"),
    )
    full: FullSettings = field(default_factory=FullSettings)
    camera_motion: CameraMotionSettings = field(default_factory=CameraMotionSettings)

    def __post_init__(self) -> None:
        check(self)

    @property
    def high_score(self) -> float:
        """Under the full association: detections from this score on are matched first."""
        return min(self.min_score, self.full.high_score)

    @property
    def confirm_again_score(self) -> float:
        """Under the full association: a track of confirm_s gets its id when it is seen with this score or more."""
        return min(self.min_score, self.full.confirm_again_score)

    @property
    def lowest_score(self) -> float:
        """Detections below take no part in tracking."""
        return min(self.min_score, self.full.low_score) if self.association == "full" else self.min_score
