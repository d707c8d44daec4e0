"""At which sizes a trained method looks at an image, and what its tags rule out: the same for every method of tags."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from wsperception.errors import InputError
from wsperception.learn.mil import likely_scores
from wsperception.settings import check, setting


@dataclass(frozen=True)
class ViewSettings:
    """Scales are Community Learning's, section 4.1. InputError for what is out of range, and for no scale."""

    scales: tuple[int, ...] = setting(
        (480, 576, 688, 864, 1000), "shorter sides of the image; the results are averaged", unit="px", low=16, high=4096
    )
    flip: bool = setting(True, "each scale mirrored besides")
    known_tags: bool = setting(False, "classes outside the image's tags are not looked for: for pseudo labels")
    min_share: float = setting(
        0.0, "score over the best of its class in the image below which a detection is dropped", low=0.0, high=1.0
    )

    def __post_init__(self) -> None:
        check(self)
        if not self.scales:
            raise InputError("scales: expected at least one, got none")

    def views(self) -> list[tuple[int, bool]]:
        """(shorter side, whether mirrored) of each look at an image."""
        return [(scale, flip) for scale in self.scales for flip in (False, True)[: 1 + self.flip]]

    def allowed(self, tags: np.ndarray) -> np.ndarray | None:
        """The tags (C,) of an image where classes outside of them are not looked for; None: every class is."""
        return tags if self.known_tags else None

    def likely(self, scores: Tensor, tags: np.ndarray) -> Tensor:
        """`likely_scores` of (P, C) in an image of these tags (C,)."""
        return likely_scores(scores, self.allowed(tags), self.min_share)
