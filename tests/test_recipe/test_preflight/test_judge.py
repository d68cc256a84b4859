# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/preflight/judge.py: samples are judged with what the config says of them."""

from collections import Counter

import pytest
from mmengine.config import Config

from mmconvnext.recipe.preflight.judge import judge
from mmconvnext.recipe.preflight.samples import Samples


@pytest.mark.parametrize(('poly2mask', 'hint'), [(False, True), (True, False), (None, False)])
def test_findings_of_all_samples(poly2mask, hint):
    loading = dict(type='mmdet.LoadAnnotations')
    if poly2mask is not None:
        loading['poly2mask'] = poly2mask
    preprocessor = dict(type='DetDataPreprocessor', mean=[0.5], std=[0.2])
    cfg = Config(
        dict(
            model=dict(data_preprocessor=preprocessor),
            train_dataloader=dict(dataset=dict(pipeline=[loading])),
        )
    )
    lost = dict(read=8, listed=20, objects=0, emptied=8, lost_by=Counter(LoadAnnotations=8))
    samples = [Samples('train_dataloader', **lost), Samples('val_dataloader', low=0, high=255)]
    findings = list(judge(cfg, samples))
    assert [finding.check for finding in findings] == ['samples', 'normalization']
    assert ('RLE masks need' in findings[0].text) is hint
