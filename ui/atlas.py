"""A map of what the catalogue talks about: clusters of passages, named by their own words, laid out so that likes are near.

Comes in: passages with vectors (float32, shape (d,), normalised). Goes out: `Subject`s with a place and a radius on a plane.
Does not know: how the map is drawn. The same catalogue always gives the same map.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from store.passages import Vector
from store.records import Passage
from ui.subjects import distinctive, terms

Matrix = npt.NDArray[np.float32]
SUBJECTS_MOST = 22
PASSAGES_A_SUBJECT = 12  # about; fewer make a cluster that says nothing
ROUNDS = 25
TERMS = 3
PLANE = (1000.0, 620.0)
FILL = 0.42  # of the plane, covered by all circles together
GAP = 8.0
PUSHES = 240
SHARE_LEAST = 0.008  # a smaller circle has no room for its words
SEED = 7


@dataclass(frozen=True, slots=True)
class Subject:
    """One circle: its words, its share of the catalogue (0 to 1), its place and radius on `PLANE`."""

    terms: tuple[str, ...]
    share: float
    x: float
    y: float
    radius: float


def make_atlas(sample: Sequence[tuple[Passage, Vector]]) -> list[Subject]:
    """Return the subjects of a sample of passages, the largest first; none where there is too little."""
    count = min(SUBJECTS_MOST, len(sample) // PASSAGES_A_SUBJECT)
    if count < 3:
        return []
    vectors = np.stack([vector for _, vector in sample]).astype(np.float32)
    centres, member = _clusters(vectors, count)
    bags = [Counter[str]() for _ in range(count)]
    lengths = np.zeros(count)
    for (passage, _), cluster in zip(sample, member, strict=True):
        bags[cluster].update(set(terms(passage.text)))
        lengths[cluster] += max(0.0, passage.end_s - passage.start_s) or 1.0
    named = [(index, tuple(distinctive(bags[index], bags, TERMS))) for index in range(count)]
    kept = [(index, words) for index, words in named if len(words) >= 2 and lengths[index] >= SHARE_LEAST * lengths.sum()]
    if not kept:
        return []
    shares = np.array([lengths[index] for index, _ in kept])
    shares = shares / shares.sum()
    radii = np.sqrt(shares * FILL * PLANE[0] * PLANE[1] / math.pi)
    places = _laid_out(centres[[index for index, _ in kept]], radii)
    subjects = [
        Subject(words, float(share), float(place[0]), float(place[1]), float(radius))
        for (_, words), share, place, radius in zip(kept, shares, places, radii, strict=True)
    ]
    return sorted(subjects, key=lambda subject: -subject.share)


def _clusters(vectors: Matrix, count: int) -> tuple[Matrix, npt.NDArray[np.int64]]:
    """Spherical k-means: centres (count, d) and the cluster of each vector (n,)."""
    chance = np.random.default_rng(SEED)
    centres = vectors[[int(chance.integers(len(vectors)))]]
    while len(centres) < count:  # far apart to begin with
        distance = 1 - (vectors @ centres.T).max(axis=1)
        weight = np.clip(distance, 1e-9, None).astype(np.float64) ** 2
        centres = np.vstack([centres, vectors[chance.choice(len(vectors), p=weight / weight.sum())]])
    member = np.zeros(len(vectors), dtype=np.int64)
    for _ in range(ROUNDS):
        nearest = (vectors @ centres.T).argmax(axis=1)
        if (nearest == member).all():
            break
        member = nearest
        for cluster in range(count):
            inside = vectors[member == cluster]
            if len(inside):
                mean = inside.mean(axis=0)
                centres[cluster] = mean / (np.linalg.norm(mean) or 1.0)
    return centres, member


def _laid_out(centres: Matrix, radii: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Put centres on the plane by their two main directions, then push overlapping circles apart."""
    flat = centres - centres.mean(axis=0)
    _, _, directions = np.linalg.svd(flat, full_matrices=False)
    places = (flat @ directions[:2].T).astype(np.float64)
    if places.shape[1] < 2:
        places = np.pad(places, ((0, 0), (0, 2 - places.shape[1])))
    places = (places - places.min(axis=0)) / np.where(np.ptp(places, axis=0) > 0, np.ptp(places, axis=0), 1)
    places = places * np.array(PLANE) * 0.8 + np.array(PLANE) * 0.1
    plane = np.array(PLANE, dtype=np.float64)
    for _ in range(PUSHES):
        apart = places[:, None, :] - places[None, :, :]
        distance = np.sqrt((apart**2).sum(axis=2)) + np.eye(len(places))
        overlap = np.clip(radii[:, None] + radii[None, :] + GAP - distance, 0, None)
        np.fill_diagonal(overlap, 0)
        places += (apart / distance[:, :, None] * overlap[:, :, None] * 0.5).sum(axis=1)
        places += (plane / 2 - places) * 0.004
        places = np.maximum(np.minimum(places, plane - radii[:, None]), radii[:, None])
    placed: npt.NDArray[np.float64] = places
    return placed
