# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""analysis/dataset/sections.py: what stands on the page, and what it says of bad files."""

import html

import numpy as np
import pytest
from dataset_files import detection, segmentation

from mmconvnext.analysis.dataset import sections
from mmconvnext.analysis.dataset.listing import list_split
from mmconvnext.analysis.dataset.regions import read_regions
from mmconvnext.analysis.dataset.samples import Feeder
from mmconvnext.analysis.dataset.sections import (
    add_charts,
    add_samples,
    add_sheets,
    add_suspicions,
    place_of,
)
from mmconvnext.analysis.dataset.split import Split
from mmconvnext.analysis.dataset.suspects import Suspicion
from mmconvnext.draw.charts import bars
from mmconvnext.draw.page import Page


@pytest.fixture
def page(tmp_path):
    folder = tmp_path / 'page'
    folder.mkdir()
    return Page(folder, 'a title')


def text(page) -> str:
    return html.unescape(page.write().read_text(encoding='utf-8'))


def files(page) -> set[str]:
    return {file.name for file in (page.folder / 'pictures').glob('*')}


def read(cfg):
    return list_split(Split(cfg, 'train_dataloader'))


def test_samples(page, tmp_path):
    cfg = detection(tmp_path / 'data')
    listing = read(cfg)
    fed = Feeder(cfg, listing.split, 0).feed([0, 2])
    add_samples(page, listing, [0, 2], [fed])
    assert files(page) == {'sample_001.png', 'sample_002.png'}
    assert '>1.png<' in text(page) and '>3.png<' in text(page) and '>2.png<' not in text(page)
    assert 'as the model gets it' in text(page)


def test_samples_as_in_the_file_only(page, tmp_path):
    add_samples(page, read(detection(tmp_path / 'data')), [1], [])
    assert files(page) == {'sample_001.png'} and 'as the model gets it' not in text(page)


def test_a_sample_that_cannot_be_loaded_is_told(page, tmp_path):
    cfg = detection(tmp_path / 'data')
    (tmp_path / 'data/train/1.png').write_bytes(b'no image')
    listing = read(cfg)
    add_samples(page, listing, [0, 1], [Feeder(cfg, listing.split, 0).feed([0, 1])])
    assert '1.png; cannot be loaded: ' in text(page) and 'the pipeline fails: ' in text(page)
    assert files(page) == {'sample_002.png'}


def test_another_image_than_the_samples_is_told(page, tmp_path):
    cfg = detection(tmp_path / 'data')
    listing = read(cfg)
    add_samples(page, listing, [0], [Feeder(cfg, listing.split, 0).feed([1])])
    assert 'the pipeline refused it' in text(page) and 'took another image, 2.png' in text(page)


def test_suspicions(page, tmp_path):
    listing = read(detection(tmp_path / 'data'))
    found = [
        Suspicion('odd boxes', 'why?', 7, objects=[0, 3], notes={3: 'a note'}),
        Suspicion('odd images', 'why not?', 3, images=[2]),
    ]
    add_suspicions(page, listing, found, 0)
    assert files(page) == {'suspicious_1.png', 'suspicious_1_2.png', 'suspicious_2.png'}
    for part in ('Odd boxes (2): why?', '1.png: cat, 20 x 31', '2.png: a note, 20 x 31', '>3.png<'):
        assert part in text(page)


def test_nothing_suspicious(page, tmp_path):
    add_suspicions(page, read(detection(tmp_path / 'data')), [], 0)
    assert 'Nothing: ' in text(page)


def test_the_worst_ones_or_random_ones_of_many():
    many = Suspicion('many', '', 99, objects=[*range(99)])
    chosen = sections._shown(many, 0)
    assert len({*chosen}) == sections.SHOWN and chosen != [*range(sections.SHOWN)]
    many.is_sorted = True
    assert sections._shown(many, 0) == [*range(sections.SHOWN)]


def test_an_image_that_is_gone_is_a_grey_picture(page, tmp_path):
    listing = read(detection(tmp_path / 'data'))
    (tmp_path / 'data/train/1.png').unlink()
    add_suspicions(page, listing, [Suspicion('odd', 'why?', 3, images=[0])], 0)
    assert files(page) == {'suspicious_1.png'}


def test_charts(page):
    add_charts(page, [('name', bars(['a'], dict(x=[1])), 'about it')])
    assert files(page) == {'name.png'} and 'about it' in text(page)


def test_sheets(page, tmp_path):
    listing = read(detection(tmp_path / 'data'))
    rows = add_sheets(page, listing, listing, 0)
    assert files(page) == {'class_0_cat.png', 'class_1_dog.png'} and 'dog: 4 objects' in text(page)
    assert rows['cat'][0]['box'] == [8, 3, 28, 34] and rows['cat'][0]['row'] == 'all 3'
    assert rows['dog'][-1]['file'].endswith('3.png')


def test_sheets_of_regions_and_classes_without_any(page, tmp_path):
    listing = read(segmentation(tmp_path / 'data'))
    add_sheets(page, listing, read_regions(listing, 0), 0)
    assert 'crop: in 3 label maps' in text(page) and 'Classes without regions: weed' in text(page)


def test_the_place_of_a_sample(tmp_path):
    listing = read(detection(tmp_path / 'data'))
    assert [place_of(listing, i) for i in range(3)] == [0, 1, 2]
    listing.places[:, 1] = [2, 0, 1]
    listing.left_out = np.array([False, False, False])
    assert [place_of(listing, i) for i in range(3)] == [1, 2, 0]
