"""One-to-one matching of tracks and detections."""

import lap
import numpy as np


def assign(sim: np.ndarray, min_similarity: float) -> tuple[np.ndarray, np.ndarray]:
    """The one-to-one matching with the greatest sum of (Sim - min_similarity) over pairs above `min_similarity`.

    sim  (T, N) float in [0, 1]

    Returns track rows (K,) and detection rows (K,), by track; empty if T or N is 0 or no pair is above.

    WSMOTS Eq. 4: Cost = max Sim - Sim, solved by the Hungarian algorithm. Deviation: pairs at or below
    `min_similarity`, which the paper would match as well, are forbidden.
    """
    allowed = sim > min_similarity
    lines, columns = np.flatnonzero(allowed.any(axis=1)), np.flatnonzero(allowed.any(axis=0))
    if len(lines) == 0:
        return lines, columns
    # A forbidden pair is priced exactly at the limit, as no pair at all would be. A huge price would make the solver
    # spoil a good pair merely to refuse one pair fewer. Gating in lap itself (cost_limit) took 60 times as long.
    candidates = sim[lines[:, None], columns].astype(np.float64)
    cost = candidates.max() - np.maximum(candidates, min_similarity)
    matched, _ = lap.lapjv(cost, extend_cost=True, return_cost=False)
    chosen = (matched >= 0).nonzero()[0]
    partners = matched[chosen]
    above = candidates[chosen, partners] > min_similarity
    return lines[chosen[above]], columns[partners[above]]
