"""The tracking loss: batch-hard triplets over embeddings of positive RoIs (WSMOTS Eq. 2)."""

import torch
from torch import Tensor


def batch_hard_triplet(embeddings: Tensor, keys: Tensor, classes: Tensor, margin: float) -> Tensor:
    """max(farthest same id - nearest other id + margin, 0), averaged over the RoIs that have a negative.

    embeddings  (R, D)        unit length
    keys        (R,) int64    identity, unique over sequence, class and id
    classes     (R,) int64    embeddings are class-specific: only RoIs of one class are compared
    margin      float         alpha of Table 1

    The distance is 1 - cosine. The paper calls d a distance yet prints the similarity; read literally, Eq. 2 would push
    one object's vectors apart. An RoI without any other RoI of its object has itself as positive, at distance 0; one
    without a negative is left out. No triplet: zero, attached to the graph.
    """
    if len(embeddings) == 0:
        return embeddings.sum() * 0.0
    distance = 1.0 - embeddings @ embeddings.T  # (R, R)
    same = keys[:, None] == keys[None, :]
    other = ~same & (classes[:, None] == classes[None, :])
    farthest = distance.masked_fill(~same, -torch.inf).max(dim=1).values
    anchored = other.any(dim=1)
    if not bool(anchored.any()):
        return embeddings.sum() * 0.0
    nearest = distance.masked_fill(~other, torch.inf).min(dim=1).values[anchored]
    return torch.clamp(farthest[anchored] - nearest + margin, min=0.0).mean()
