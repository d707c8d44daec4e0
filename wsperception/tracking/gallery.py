"""What tracks looked like: a few embeddings each, some time apart, the oldest replaced first."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Gallery:
    """Embeddings of T tracks.

    embeddings  (T, K, D) float32   zeros where a place is unused
    counts      (T,) int64          how many were ever written; the next goes to place counts % K
    written_ns  (T,) int64          stamp of the most recent one
    """

    embeddings: np.ndarray
    counts: np.ndarray
    written_ns: np.ndarray

    @property
    def informative(self) -> bool:
        """Whether embeddings can tell objects apart: a unit vector of length 1 is always the same."""
        return bool(self.embeddings.shape[2] > 1)

    @staticmethod
    def of(embeddings: np.ndarray, stamp_ns: int, size: int) -> "Gallery":
        """New tracks, each with one embedding, (T, D)."""
        count, length = embeddings.shape
        places = np.zeros((count, size, length), np.float32)
        places[:, 0] = embeddings
        return Gallery(places, np.ones(count, np.int64), np.full(count, stamp_ns, np.int64))

    def select(self, rows: np.ndarray) -> "Gallery":
        """The tracks at `rows`, integers."""
        return Gallery(self.embeddings.take(rows, 0), self.counts[rows], self.written_ns[rows])

    def with_seen(self, rows: np.ndarray, embeddings: np.ndarray, stamp_ns: int, spacing_s: float) -> "Gallery":
        """The same, where the tracks at `rows` were just seen with `embeddings` (S, D).

        One is kept where the last was written `spacing_s` ago or earlier.
        """
        due = (stamp_ns - self.written_ns[rows]) >= spacing_s * 1e9
        if not due.any() or not self.informative:
            return self
        rows, embeddings = rows[due], embeddings[due]
        places, counts, written_ns = self.embeddings.copy(), self.counts.copy(), self.written_ns.copy()
        places[rows, counts[rows] % places.shape[1]] = embeddings
        counts[rows] += 1
        written_ns[rows] = stamp_ns
        return Gallery(places, counts, written_ns)

    def joined(self, other: "Gallery") -> "Gallery":
        """The tracks of both. A new size or length of embeddings (another model) takes the place of the old ones."""
        mine = self.embeddings
        if mine.shape[1:] != other.embeddings.shape[1:]:
            mine = np.zeros((len(mine), *other.embeddings.shape[1:]), np.float32)
        return Gallery(
            np.concatenate([mine, other.embeddings]),
            np.concatenate([self.counts, other.counts]),
            np.concatenate([self.written_ns, other.written_ns]),
        )


NO_GALLERY = Gallery(np.zeros((0, 1, 0), np.float32), np.zeros(0, np.int64), np.zeros(0, np.int64))
