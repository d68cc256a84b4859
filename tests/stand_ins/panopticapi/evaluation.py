# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Counts of matched segments, and PQ = SQ * RQ of them, averaged over the categories."""

from collections import defaultdict
from types import SimpleNamespace

VOID = 0  # the id of unlabelled pixels
OFFSET = 256**3  # one more than the highest id


class Counts(SimpleNamespace):
    """Of a category: true positives, their summed IoU, false positives and negatives."""

    def __init__(self, iou=0.0, tp=0, fp=0, fn=0):
        super().__init__(iou=iou, tp=tp, fp=fp, fn=fn)


class PQStat(defaultdict):
    """Counts by category id."""

    def __init__(self):
        super().__init__(Counts)

    def __reduce__(self):
        return PQStat, (), None, None, iter(self.items())

    def __iadd__(self, other):
        for category, counts in other.items():
            for name, value in vars(counts).items():
                setattr(self[category], name, getattr(self[category], name) + value)
        return self

    def pq_average(self, categories, isthing):
        """The means over the categories that occur (ZeroDivisionError if none), and each one's."""
        by_category, seen = {}, []
        for category, entry in categories.items():
            if isthing is not None and isthing != (entry['isthing'] == 1):
                continue
            counts = self[category]
            size = counts.tp + (counts.fp + counts.fn) / 2
            sq = counts.iou / counts.tp if counts.tp else 0.0
            rq = counts.tp / size if size else 0.0
            by_category[category] = dict(pq=sq * rq, sq=sq, rq=rq)
            seen += [by_category[category]] if size else []
        means = {key: sum(one[key] for one in seen) / len(seen) for key in ('pq', 'sq', 'rq')}
        return dict(means, n=len(seen)), by_category
