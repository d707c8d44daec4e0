"""Ids of tracks: counted from 1, starting again behind the largest, never one that a living track has."""

import numpy as np

from wsperception.errors import InputError


class IdCounter:
    """Gives out ids."""

    def __init__(self) -> None:
        self._next = 1

    def take(self, count: int, living: np.ndarray, max_id: int) -> np.ndarray:
        """`count` new ids, int32, in rising order until the count starts again at 1.

        living  int32, the ids in use; 0 may occur and does not count

        Raises InputError where `max_id` tracks are alive.
        """
        taken = set(living.tolist())
        taken.discard(0)
        ids = np.zeros(count, np.int32)
        for row in range(count):
            if len(taken) >= max_id:
                raise InputError(f"max_id: {max_id} tracks live at once, no id is left")
            candidate = self._next if self._next <= max_id else 1
            while candidate in taken:
                candidate = candidate + 1 if candidate < max_id else 1
            self._next = candidate + 1
            taken.add(candidate)
            ids[row] = candidate
        return ids
