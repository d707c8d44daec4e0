"""Training samples: what a frame of a clip is, and how samples are drawn and augmented."""

from dataclasses import dataclass

import numpy as np

from wsperception.data.panoptic_labels import PanopticLabels
from wsperception.data.segments import Segments
from wsperception.settings import check, setting
from wsperception.types import LabelSpace, WeakLabels


@dataclass(frozen=True)
class ClipSettings:
    """How training samples are drawn and augmented."""

    input_size: tuple[int, int] = setting((384, 1248), "height and width of the network's input", unit="px", low=32)
    crop: tuple[int, int] = setting(
        (0, 0), "height and width of the window trained on; 0 0: all of it", unit="px", low=0
    )
    focus: float = setting(0.7, "probability that the window is laid over an object", low=0.0, high=1.0)
    split: str = setting("all", "sequences: all, train, val, fulltrain, or names joined by commas")
    frames: int = setting(2, "frames of one clip per sample", low=1, high=16)
    max_gap: int = setting(3, "largest step between two frames of a sample", unit="frames", low=1, high=100)
    flip: float = setting(0.5, "probability that a clip is mirrored", low=0.0, high=1.0)
    scale_low: float = setting(0.8, "smallest random scale", low=0.1, high=1.0)
    scale_high: float = setting(1.25, "largest random scale", low=1.0, high=4.0)
    brightness: float = setting(0.15, "largest shift over the value range", low=0.0, high=1.0)
    contrast: float = setting(0.2, "largest relative change", low=0.0, high=0.9)
    saturation: float = setting(0.3, "largest relative change", low=0.0, high=1.0)
    tint: float = setting(0.05, "largest relative change of one colour channel", low=0.0, high=0.5)
    min_side: float = setting(2.0, "objects with a smaller side are ignored", unit="px", low=0.0)
    min_area: int = setting(4, "objects with a smaller mask are ignored (full supervision)", unit="px", low=0)
    min_visible: float = setting(0.2, "objects of which a crop leaves less are ignored", low=0.0, high=1.0)
    classes: tuple[str, ...] = setting(("car", "pedestrian"), "classes to learn, all of them things")
    points_from: str = setting(
        "masks", "point supervision of data without clicks: middles of masks, or centres of boxes",
        choices=("masks", "boxes"),
    )  # fmt: skip
    stored_scale: float = setting(1.25, "size of the decoded frames over input_size", low=0.5, high=4.0)

    def __post_init__(self) -> None:
        check(self)
        self.labels  # noqa: B018 - refuses a class twice, or none

    @property
    def labels(self) -> LabelSpace:
        """The classes."""
        return LabelSpace(self.classes, (True,) * len(self.classes))

    @property
    def sample_size(self) -> tuple[int, int]:
        """Height and width of the training images: a window of the network's input, at its scale, or all of it."""
        return (self.crop[0] or self.input_size[0], self.crop[1] or self.input_size[1])

    @property
    def stored_size(self) -> tuple[int, int]:
        """Height and width at which decoded frames are kept: a little larger, so that zooming in stays sharp."""
        return round(self.input_size[0] * self.stored_scale), round(self.input_size[1] * self.stored_scale)


@dataclass(frozen=True, eq=False)
class ClipFrame:
    """One augmented training image at network size (h, w); coordinates in its pixels.

    image         (h, w, 3) uint8      RGB, padding 114
    boxes         (N, 4) float32       x0 y0 x1 y1 exclusive, inside the image's content
    class_ids     (N,) int64           index into the LabelSpace
    track_keys    (N,) int64           unique over (sequence, class, id) in the whole training set
    masks         (N, h, w) bool       disjoint; None under weak supervision without pseudo masks
    ignore_boxes  (I, 4) float32       regions that count neither for nor against, among them objects too small to learn
    ignore_mask   (h, w) bool          annotated ignore regions, or what pseudo masks leave undecided; None under weak
                                       supervision without pseudo masks
    clip          int                  index of the clip in the joint batch
    source        str                  image file, for messages
    weak          WeakLabels or None   under point supervision: the points inside the content; its ignore boxes are
                                       those above. Under tags: those of the whole image
    segments      Segments or None     segment proposals, for methods that ask for them
    panoptic      PanopticLabels or None   what every pixel shows, void outside the content; where such labels are given
    """

    image: np.ndarray
    boxes: np.ndarray
    class_ids: np.ndarray
    track_keys: np.ndarray
    masks: np.ndarray | None
    ignore_boxes: np.ndarray
    ignore_mask: np.ndarray | None
    clip: int
    source: str
    weak: WeakLabels | None = None
    segments: Segments | None = None
    panoptic: PanopticLabels | None = None
