# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: a download is asked for once, checked, and never kept under its name when it is bad."""

import dataclasses
import hashlib
import io
import re
import signal
import subprocess
import sys

import pytest
import torch

from mmconvnext.checkpoint import zoo
from mmconvnext.checkpoint.download import cached, download, is_url
from mmconvnext.checkpoint.errors import CheckpointUnreadable
from mmconvnext.checkpoint.read import read_checkpoint


def pack(content: object) -> bytes:
    with io.BytesIO() as file:
        torch.save(content, file)
        return file.getvalue()


BODY = pack({'weight': torch.arange(3000.0)})
SHA = hashlib.sha256(BODY).hexdigest()


def kept(cache) -> list[str]:
    """Everything in the cache, partial downloads too, without the digests of URLs."""
    names = [path.name for path in cache.iterdir()] if cache.is_dir() else []
    return sorted(re.sub('^[0-9a-f]{8}--', '', name) for name in names)


def assert_reads(url: str) -> None:
    assert torch.equal(read_checkpoint(url)['weight'], torch.arange(3000.0))


# What is asked of the server


def test_second_call_does_not_ask_the_server(server, cache):
    server.answers['/a/w.pth'] = BODY
    url = server.url('/a/w.pth')
    assert download(url) == download(url) == cached(url) and cached(url).parent == cache
    assert_reads(url)
    assert server.asked == ['/a/w.pth'] and kept(cache) == ['w.pth']
    server.close()
    assert_reads(url)


def test_cache_is_that_of_torch_hub_and_mmengine(server, cache):
    """For names that are one file's alone: with its hash, or published."""
    path = f'/w-{SHA[:8]}.pth'
    server.answers[path] = BODY
    torch.hub.load_state_dict_from_url(server.url(path), progress=False)
    assert_reads(server.url(path))
    assert server.asked == [path]
    for row in zoo.published().values():
        name = row.url.rpartition('/')[2]
        assert cached(row.url).name in (name, '--'.join([*row.url.split('/')[3:5], name])), row


def test_files_of_one_name_do_not_meet(server, cache):
    paths = [f'/ORG/{repo}/resolve/main/model.safetensors' for repo in ('one', 'two')]
    paths += ['/a/best.pth', '/b/best.pth', '/b/best.pth?id=1', '/b/best.pth?id=2']
    for i, path in enumerate(paths):
        server.answers[path] = pack({'i': torch.tensor(i)})
    for _ in range(2):
        assert [int(read_checkpoint(server.url(path))['i']) for path in paths] == [*range(6)]
    assert len(server.asked) == 6
    assert len({cached(row.url) for row in zoo.published().values()}) == len(zoo.published())


def test_short_name_is_its_url(server, cache, monkeypatch):
    server.answers['/w.pth'] = BODY
    row = dataclasses.replace(zoo.find('convnext-tiny_in1k'), url=server.url('/w.pth'))
    monkeypatch.setitem(zoo.published(), row.name, row)
    assert_reads('convnext-tiny_in1k')
    assert_reads('convnext-tiny_in1k')
    assert server.asked == ['/w.pth'] and kept(cache) == ['w.pth']


def test_what_is_a_url():
    assert is_url('http://a/b') and is_url('https://a/b')
    assert not is_url('convnext-tiny_in1k') and not is_url('httpx/b') and not is_url('s3://a/b')


# Hashes


@pytest.mark.parametrize('digits', [8, 64])
def test_right_hash(digits, server, cache):
    server.answers[f'/w-{SHA[:digits]}.pth'] = BODY
    for _ in range(2):  # from the server, from the cache
        assert_reads(server.url(f'/w-{SHA[:digits]}.pth'))


def test_wrong_hash_keeps_nothing(server, cache):
    server.answers['/w-abcdef01.pth'] = BODY
    match = r'/w-abcdef01\.pth: invalid hash value .*; nothing was kept\. Try again'
    with pytest.raises(CheckpointUnreadable, match=match):
        download(server.url('/w-abcdef01.pth'))
    assert kept(cache) == []


def test_cached_file_that_lost_its_hash_is_set_aside(server, cache):
    name = f'w-{SHA[:8]}.pth'
    server.answers[f'/{name}'] = BODY
    download(server.url(f'/{name}'))
    (cache / name).write_bytes(BODY[:-1])
    (cache / 'other.pth').write_bytes(b'other')
    match = rf'{name}: its SHA-256 begins with [0-9a-f]{{8}}, the name says {SHA[:8]}\. It is now '
    with pytest.raises(
        CheckpointUnreadable, match=match + rf'called {name}\.bad; the next attempt'
    ):
        read_checkpoint(server.url(f'/{name}'))
    assert kept(cache) == ['other.pth', f'{name}.bad']
    assert (cache / f'{name}.bad').read_bytes() == BODY[:-1]
    assert_reads(server.url(f'/{name}'))
    assert len(server.asked) == 2
    assert kept(cache) == ['other.pth', name, f'{name}.bad']


@pytest.mark.parametrize(
    'name', ['w-20220301.pth', 'w-20220301121314.pth', 'iter-00160000.pth', 'w-1234567.pth']
)
def test_dates_and_short_numbers_are_no_hash(name, server, cache):
    server.answers[f'/{name}'] = BODY
    for _ in range(2):
        assert_reads(server.url(f'/{name}'))


# Bad answers


@pytest.mark.parametrize(
    ('answer', 'match'),
    [
        (b'<html><title>Sign in</title></html>', 'is a web page, not weights: the server answered'),
        (b'', r'w\.pth is empty \(0 bytes\)'),
        ((200, BODY[:5000], len(BODY), None), r'w\.pth is damaged or truncated \(5000 bytes\)'),
        (BODY[:5000], r'w\.pth is damaged or truncated \(5000 bytes\)'),
    ],
    ids=['html', 'empty', 'connection closed early', 'truncated on the server'],
)
def test_bad_body_is_named_and_set_aside(answer, match, server, cache):
    server.answers['/w.pth'] = answer
    url = server.url('/w.pth')
    with pytest.raises(CheckpointUnreadable, match=match) as error:
        read_checkpoint(url)
    assert str(error.value).endswith(
        f'\nIt was downloaded for {url!r} and is now called {cached(url).name}.bad; the next '
        'attempt downloads it again'
    )
    assert kept(cache) == ['w.pth.bad']
    server.answers['/w.pth'] = BODY
    assert_reads(url)


def test_bad_body_of_a_short_name(server, cache, monkeypatch):
    server.answers['/w.pth'] = b'<html>'
    row = dataclasses.replace(zoo.find('convnext-tiny_in1k'), url=server.url('/w.pth'))
    monkeypatch.setitem(zoo.published(), row.name, row)
    with pytest.raises(CheckpointUnreadable, match="was downloaded for 'convnext-tiny_in1k' and"):
        read_checkpoint('convnext-tiny_in1k')
    assert kept(cache) == ['w.pth.bad']


def test_cached_file_named_as_a_path_is_the_users(server, cache):
    server.answers['/w.pth'] = b'<html>'
    path = download(server.url('/w.pth'))
    with pytest.raises(CheckpointUnreadable, match='a web page'):
        read_checkpoint(path)
    assert kept(cache) == ['w.pth']


@pytest.mark.parametrize(
    ('status', 'match'),
    [
        (404, r'404 Not Found\. Fetch it'),
        (403, r'403 Forbidden \(it may ask for a login\)\. Fetch it'),
        (401, r'401 Unauthorized \(it may ask for a login\)\. Fetch it'),
        (503, r'503 Service Unavailable\. Fetch it'),
    ],
)
def test_refusal_says_where_to_put_the_file(status, match, server, cache):
    server.answers['/w.pth'] = status, b'', 0, None
    with pytest.raises(ConnectionError, match=f'cannot download http.*/w.pth: {match}') as error:
        read_checkpoint(server.url('/w.pth'))
    assert f'put it at {cached(server.url("/w.pth"))}, or name its path instead' in str(error.value)
    assert kept(cache) == []


def test_server_that_is_gone(server, cache):
    url = server.url('/w.pth')
    server.close()
    with pytest.raises(ConnectionError, match='cannot download .*: .*refused') as error:
        read_checkpoint(url)
    assert f'put it at {cached(server.url("/w.pth"))}, or name its path instead' in str(error.value)
    assert kept(cache) == []


def test_host_that_does_not_speak_http(server, cache, monkeypatch):
    monkeypatch.setattr(server.RequestHandlerClass, 'protocol_version', 'nonsense')
    server.answers['/w.pth'] = BODY
    with pytest.raises(ConnectionError, match='cannot download .*nonsense'):
        read_checkpoint(server.url('/w.pth'))
    assert kept(cache) == []


# Interruptions


def test_connection_that_breaks_leaves_nothing(server, cache):
    server.answers['/w.pth'] = 200, BODY[:5000], len(BODY), 'reset'
    with pytest.raises(ConnectionError, match='cannot download .*reset'):
        download(server.url('/w.pth'))
    assert kept(cache) == []


def test_ctrl_c_leaves_nothing(server, cache):
    server.answers['/w.pth'] = 200, BODY[:5000], len(BODY), 'wait'

    def interrupt(*args):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        with pytest.raises(KeyboardInterrupt):
            download(server.url('/w.pth'))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert server.asked == ['/w.pth'] and kept(cache) == []


# Several processes

RANK = """
import os, sys
import torch
import torch.distributed as dist
from mmconvnext.checkpoint.read import read_checkpoint

rank, folder, good, bad, gone, other = int(sys.argv[1]), *sys.argv[2:]
store = f'file://{folder}/store'
dist.init_process_group('gloo', init_method=store, rank=rank, world_size=2)
os.environ['TORCH_HOME'] = f'{folder}/torch'
assert len(read_checkpoint(good)['weight']) == 3000
for url in (bad, gone):
    try:
        read_checkpoint(url)
    except Exception as error:
        print(type(error).__name__, error)
os.environ['TORCH_HOME'] = f'{folder}/node{rank}'
assert len(read_checkpoint(other)['weight']) == 3000
dist.barrier()
"""


@pytest.mark.slow
def test_rank_0_alone_asks_the_server_and_all_learn_of_errors(server, cache, tmp_path):
    server.answers |= {'/good.pth': BODY, '/bad-abcdef01.pth': BODY, '/other.pth': BODY}
    urls = [
        server.url(f'/{name}') for name in ('good.pth', 'bad-abcdef01.pth', 'gone', 'other.pth')
    ]
    ranks = [
        subprocess.Popen(
            [sys.executable, '-c', RANK, str(rank), str(tmp_path), *urls],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    for rank in ranks:
        out, err = rank.communicate(timeout=100)
        assert rank.returncode == 0, err
        unreadable, refused = out.splitlines()
        assert unreadable.startswith('CheckpointUnreadable') and 'invalid hash value' in unreadable
        assert refused.startswith('CheckpointUnreachable cannot download') and '404' in refused
    # A node that does not share the disk of rank 0 fetches for itself.
    assert sorted(server.asked) == ['/bad-abcdef01.pth', '/gone', '/good.pth', *['/other.pth'] * 2]
    assert kept(cache) == ['good.pth']
