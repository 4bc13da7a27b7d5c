"""Prefer nodes that have the pod's images."""

from functools import partial

import numpy as np

from neaptide.model.columns import Bools, Longs
from neaptide.model.shapes import Requirements
from neaptide.placement.scores.score import LARGEST, Score
from neaptide.placement.view import Pod, View

_MB = 2**20
SMALLEST_SUM = 23 * _MB
LARGEST_PER_CONTAINER = 1000 * _MB


class ImageLocality(Score, frozen=True, tag="ImageLocality"):
    """The bytes of the pod's images that a node has, each scaled by the part of all nodes that have it."""

    def scores(self, view: View, pod: Pod, rows: Longs) -> Longs:
        requirements = pod.cls.requirements
        total = np.zeros(len(rows), dtype=np.int64)
        for image in _images(requirements):
            held = view.nodes.mask(f"image {image}", 0, None, partial(_has, view, image))
            holders = np.flatnonzero(held)
            if len(holders):
                size = view.snapshot.nodes.images[int(holders[0])][image]
                spread = len(holders) / np.count_nonzero(view.snapshot.nodes.alive[: view.nodes.rows])
                total += held[rows] * int(size * spread)
        largest = LARGEST_PER_CONTAINER * (len(requirements.containers) + len(requirements.init_containers))
        bounded = np.clip(total, SMALLEST_SUM, max(largest, SMALLEST_SUM + 1))
        return LARGEST * (bounded - SMALLEST_SUM) // (max(largest, SMALLEST_SUM + 1) - SMALLEST_SUM)


def _images(requirements: Requirements) -> list[str]:
    """The images of containers and image volumes, one for every use, with the tag that a name without one means."""
    names = [each.image for each in (*requirements.init_containers, *requirements.containers)]
    names += [each.image.reference for each in requirements.volumes if each.image is not None]
    return [name if name.rfind(":") > name.rfind("/") else f"{name}:latest" for name in names]


def _has(view: View, image: str, rows: Longs) -> Bools:
    images = view.snapshot.nodes.images
    return np.fromiter((image in images.get(row, ()) for row in rows.tolist()), dtype=np.bool_, count=len(rows))
