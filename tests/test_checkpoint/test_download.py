# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: a file is downloaded once and checked; a bad file never keeps its name."""

import dataclasses
import hashlib
import io
import os
import re
import signal
from http.client import IncompleteRead
from urllib.error import URLError

import processes
import pytest
import torch
import torch.distributed as dist

from mmconvnext.checkpoint import download as module
from mmconvnext.checkpoint import zoo
from mmconvnext.checkpoint.download import cached, download, is_url
from mmconvnext.checkpoint.errors import CheckpointUnreachable, CheckpointUnreadable
from mmconvnext.checkpoint.read import read_checkpoint


def pack(content: object) -> bytes:
    with io.BytesIO() as file:
        torch.save(content, file)
        return file.getvalue()


BODY = pack({'weight': torch.arange(3000.0)})
SHA = hashlib.sha256(BODY).hexdigest()


def kept(cache) -> list[str]:
    """The names of all files in the cache, partial downloads too, without the digests of URLs."""
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


def test_cache_is_that_of_torch_hub_and_mmengine(server, cache, hashing):
    """For unique names: those with a hash, or published."""
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


@pytest.fixture
def hashing(server, monkeypatch):
    """The server follows the convention that file names end in a hash."""
    host = f'127.0.0.1:{server.server_port}'
    monkeypatch.setattr(module, 'HASHING_HOSTS', (*module.HASHING_HOSTS, host))


@pytest.mark.parametrize('digits', [8, 64])
def test_right_hash(digits, server, cache, hashing):
    server.answers[f'/w-{SHA[:digits]}.pth'] = BODY
    for _ in range(2):  # from the server, from the cache
        assert_reads(server.url(f'/w-{SHA[:digits]}.pth'))


def test_wrong_hash_keeps_nothing(server, cache, hashing):
    server.answers['/w-abcdef01.pth'] = BODY
    match = r'/w-abcdef01\.pth: invalid hash value .*; the file was discarded\. Try again'
    with pytest.raises(CheckpointUnreadable, match=match):
        download(server.url('/w-abcdef01.pth'))
    assert kept(cache) == []


def test_cached_file_that_lost_its_hash_is_set_aside(server, cache, hashing):
    name = f'w-{SHA[:8]}.pth'
    server.answers[f'/{name}'] = BODY
    download(server.url(f'/{name}'))
    (cache / name).write_bytes(BODY[:-1])
    (cache / 'other.pth').write_bytes(b'other')
    match = rf'{name}: its SHA-256 begins with [0-9a-f]{{8}}, its name says {SHA[:8]}\. It was '
    with pytest.raises(
        CheckpointUnreadable, match=match + rf'renamed to {name}\.bad; the next attempt'
    ):
        read_checkpoint(server.url(f'/{name}'))
    assert kept(cache) == ['other.pth', f'{name}.bad']
    assert (cache / f'{name}.bad').read_bytes() == BODY[:-1]
    assert_reads(server.url(f'/{name}'))
    assert len(server.asked) == 2
    assert kept(cache) == ['other.pth', name, f'{name}.bad']


@pytest.mark.parametrize(
    'name',
    [
        *('w-20220301.pth', 'w-20220301121314.pth', 'iter-00160000.pth', 'w-1234567.pth'),
        *('w-9fceb02d0ae598e95dc970b74767f19372d61af8.pth', 'w-9fceb02.pth', 'w-9fceb02d.pth'),
        f'w-{SHA[::-1]}.pth',
    ],
)
def test_elsewhere_digits_are_no_hash(name, server, cache):
    """But a date, an iteration, a commit, or the hash of something else."""
    server.answers[f'/{name}'] = BODY
    for _ in range(2):
        assert_reads(server.url(f'/{name}'))
    assert server.asked == [f'/{name}']


@pytest.mark.parametrize(
    ('name', 'hashed'),
    [
        ('w-9fceb02.pth', False),  # seven digits
        ('w-9fceb02d.pth', True),
        (f'w-{SHA}.pth', True),
        (f'w-{SHA}0.pth', False),  # more than SHA-256 has
        ('w-9fceb02d.safetensors', True),
        ('w-9fceb02d.pth.tar', False),
        ('w-9FCEB02D.pth', False),
        ('w_9fceb02d.pth', False),
        ('w-9fceb02g.pth', False),
        ('w-9fceb02d', False),
    ],
)
def test_what_is_a_hash(name, hashed, cache):
    for end in ('', '?download=1'):
        url = f'https://download.pytorch.org/models/{name}{end}'
        own = hashlib.sha256(url.encode()).hexdigest()[:8]
        assert cached(url) == cache / (name if hashed else f'{own}--{name}')


def test_names_in_the_cache(cache):
    hf = 'https://huggingface.co'
    for url, name in {
        zoo.find('convnext-tiny_in1k').url: 'convnext_tiny_1k_224.pth',
        zoo.find('torchvision/convnext_tiny').url: 'convnext_tiny-983f1562.pth',
        f'{hf}/timm/convnext_nano.in12k/resolve/main/model.safetensors': (
            'timm--convnext_nano.in12k--model.safetensors'
        ),
        f'{hf}/facebook/convnext-tiny-224/resolve/main/pytorch_model.bin': (
            'facebook--convnext-tiny-224--pytorch_model.bin'
        ),
    }.items():
        assert cached(url) == cache / name
    for url, name in {
        f'{hf}/me/mine/resolve/main/model.safetensors': 'model.safetensors',
        'https://x.org/a%20b/gr%C3%BC%C3%9F%20w.pth?id=3': 'gr%C3%BC%C3%9F%20w.pth',
        'https://x.org/': 'x.org',
        'https://x.org/folder/': 'folder',
    }.items():
        assert cached(url) == cache / f'{hashlib.sha256(url.encode()).hexdigest()[:8]}--{name}'


def test_who_keeps_to_the_custom(monkeypatch):
    monkeypatch.setattr(torch.hub, '_hub_dir', None)
    for host in ('download.openmmlab.com/mmdet', 'download.pytorch.org/models'):
        assert cached(f'https://{host}/w-9fceb02d.pth').name == 'w-9fceb02d.pth'
    assert cached('https://example.com/w-9fceb02d.pth').name.endswith('--w-9fceb02d.pth')


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
        f'\nIt was downloaded for {url!r} and was renamed to {cached(url).name}.bad; the next '
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
        (404, r'404 Not Found\. Download it'),
        (403, r'403 Forbidden \(a login may be required\)\. Download it'),
        (401, r'401 Unauthorized \(a login may be required\)\. Download it'),
        (503, r'503 Service Unavailable\. Download it'),
    ],
)
def test_refusal_says_where_to_put_the_file(status, match, server, cache):
    server.answers['/w.pth'] = status, b'', 0, None
    with pytest.raises(ConnectionError, match=f'cannot download http.*/w.pth: {match}') as error:
        read_checkpoint(server.url('/w.pth'))
    assert f'put it at {cached(server.url("/w.pth"))}, or give its path instead of' in str(
        error.value
    )
    assert kept(cache) == []


def test_server_that_is_gone(server, cache):
    url = server.url('/w.pth')
    server.close()
    with pytest.raises(ConnectionError, match='cannot download .*: .*refused') as error:
        read_checkpoint(url)
    assert f'put it at {cached(server.url("/w.pth"))}, or give its path instead of' in str(
        error.value
    )
    assert kept(cache) == []


def test_host_that_does_not_speak_http(server, cache, monkeypatch):
    monkeypatch.setattr(server.RequestHandlerClass, 'protocol_version', 'nonsense')
    server.answers['/w.pth'] = BODY
    with pytest.raises(ConnectionError, match='cannot download .*nonsense'):
        read_checkpoint(server.url('/w.pth'))
    assert kept(cache) == []


@pytest.mark.parametrize(
    ('error', 'kind', 'match'),
    [
        (URLError('no route'), CheckpointUnreachable, r'/w-9fceb02d\.pth: no route\. Download it'),
        (TimeoutError('timed out'), CheckpointUnreachable, ': timed out. Download it on another'),
        (ConnectionResetError('reset'), CheckpointUnreachable, ': reset. Download it'),
        (IncompleteRead(b''), CheckpointUnreachable, ': IncompleteRead.0 bytes read.'),
        (RuntimeError('invalid'), CheckpointUnreadable, ': invalid; the file was discarded'),
        (OSError('disk full'), OSError, '^disk full$'),
    ],
)
def test_every_failure_says_what_to_do(error, kind, match, cache, monkeypatch):
    asked = []

    def fail(*args: str, **options: str) -> None:
        asked.append((args, options))
        raise error

    monkeypatch.setattr(torch.hub, 'download_url_to_file', fail)
    url = 'https://download.pytorch.org/models/w-9fceb02d.pth'
    with pytest.raises(kind, match=match) as found:
        download(url)
    assert found.type is kind and (kind is OSError or found.value.__cause__ is error)
    assert asked == [((url, str(cache / 'w-9fceb02d.pth')), {'hash_prefix': '9fceb02d'})]


# Encryption


@pytest.mark.parametrize(
    'url', ['http://example.com/w.pth', 'http://127.0.0.1.example.com/w.pth', 'http://user@x/w']
)
def test_plain_http_is_refused(url, cache, monkeypatch):
    monkeypatch.setattr(torch.hub, 'download_url_to_file', None)
    match = rf'{url} was not downloaded: .* Write https://, or put the file at {cached(url)}; MMC'
    with pytest.raises(CheckpointUnreachable, match=match):
        read_checkpoint(url)
    cached(url).parent.mkdir(parents=True)
    cached(url).write_bytes(BODY)
    assert_reads(url)  # put there by hand


def test_plain_http_is_allowed_by_the_user(cache, monkeypatch):
    asked = []
    monkeypatch.setattr(torch.hub, 'download_url_to_file', lambda url, *_, **__: asked.append(url))
    monkeypatch.setenv('MMCONVNEXT_ALLOW_HTTP', '1')
    download_one = module._fetch
    download_one('http://example.com/w.pth', cache / 'w.pth')
    monkeypatch.setenv('MMCONVNEXT_ALLOW_HTTP', '0')
    with pytest.raises(CheckpointUnreachable):
        download_one('http://example.com/w.pth', cache / 'w.pth')
    assert asked == ['http://example.com/w.pth']


def test_a_redirect_on_this_machine_is_followed(server, cache):
    server.answers |= {'/a.pth': (302, server.url('/b.pth').encode(), 0, None), '/b.pth': BODY}
    assert_reads(server.url('/a.pth'))
    assert server.asked == ['/a.pth', '/b.pth']


@pytest.mark.parametrize(
    ('target', 'match'),
    [
        ('http://example.com/w.pth', r'it redirects to http://example\.com/w\.pth, which is not'),
        ('ftp://example.com/w.pth', r'it redirects to ftp://example\.com/w\.pth, which is not'),
        ('ftp://127.0.0.1/w.pth', r'it redirects to ftp://127\.0\.0\.1/w\.pth, which is not'),
        (
            'file:///etc/passwd',
            r"302 Found.*Redirection to url 'file:///etc/passwd' is not allowed",
        ),
    ],
)
def test_a_redirect_away_from_https_is_refused(target, match, server, cache):
    server.answers['/w.pth'] = 302, target.encode(), 0, None
    with pytest.raises(CheckpointUnreachable, match=f'cannot download .*/w.pth: {match}'):
        read_checkpoint(server.url('/w.pth'))
    assert kept(cache) == []


def test_every_published_file_is_https():
    assert all(row.url.startswith('https://') for row in zoo.published().values())


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


@pytest.mark.parametrize(
    ('rank', 'environment', 'leads'),
    [
        (0, {}, True),
        (0, {'LOCAL_RANK': '1'}, True),
        (1, {}, False),
        (4, {'LOCAL_RANK': '0'}, True),  # torchrun, and mmengine under slurm
        (5, {'LOCAL_RANK': '1'}, False),
        (4, {'OMPI_COMM_WORLD_LOCAL_RANK': '0'}, True),  # Open MPI
        (5, {'OMPI_COMM_WORLD_LOCAL_RANK': '1'}, False),
        (5, {'LOCAL_RANK': '1', 'OMPI_COMM_WORLD_LOCAL_RANK': '0'}, False),
        (10, {'LOCAL_RANK': '10'}, False),
    ],
)
def test_who_downloads_and_renames_for_its_node(rank, environment, leads, monkeypatch, tmp_path):
    for name in ('LOCAL_RANK', 'OMPI_COMM_WORLD_LOCAL_RANK'):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(module, 'get_dist_info', lambda: (rank, 16))
    assert module.leads_node() is leads
    (tmp_path / 'a b.pth').write_bytes(b'new')
    (tmp_path / 'a b.pth.bad').write_bytes(b'old')
    assert module.set_aside(tmp_path / 'a b.pth') == tmp_path / 'a b.pth.bad'
    assert (tmp_path / 'a b.pth').exists() is not leads
    assert (tmp_path / 'a b.pth.bad').read_bytes() == (b'new' if leads else b'old')
    module.set_aside(tmp_path / 'a b.pth')  # another rank was first
    assert (tmp_path / 'a b.pth.bad').read_bytes() == (b'new' if leads else b'old')


def read_all(rank: int, folder: str, host: str, cases: list) -> None:
    """In each of four processes; print what is read, or the error."""
    module.HASHING_HOSTS = (host,)
    dist.init_process_group('gloo', init_method=f'file://{folder}/store', rank=rank, world_size=4)
    for homes, local_ranks, url in cases:
        os.environ['TORCH_HOME'] = f'{folder}/{homes[rank]}'
        os.environ['LOCAL_RANK'] = local_ranks[rank]
        try:
            print(len(read_checkpoint(url)['weight']))
        except Exception as error:
            print(type(error).__name__, error)
    dist.barrier()


def test_one_rank_a_node_asks_the_server_and_all_learn_of_errors(server, cache, tmp_path):
    """Two nodes of two ranks: with a shared disk, and with a disk each."""
    good, bad = f'/w-{SHA[:8]}.pth', '/w-abcdef01.pth'
    server.answers |= dict.fromkeys((good, bad, '/other.pth'), BODY)
    damaged = tmp_path / f'damaged/hub/checkpoints{good}'
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(BODY[:-1])
    blocked = tmp_path / 'blocked/hub/checkpoints'
    blocked.parent.mkdir(parents=True)
    blocked.write_text('a file where the cache would be')

    known, unknown, done = '0101', ['', '', '', ''], '3000'
    cases = [  # caches, LOCAL_RANKs, path; what every rank says, how often the server is asked
        ('aaaa', known, good, done, 1),
        ('aaaa', unknown, '/other.pth', done, 1),
        ('bbcc', known, good, done, 2),
        ('bbcc', unknown, '/other.pth', done, 2),
        ('dddd', known, bad, 'CheckpointUnreadable http.*: invalid hash value', 1),
        ('ddee', known, '/gone', 'CheckpointUnreachable cannot download .*: 404', 1),
        # Only the second node meets these.
        (['f', 'f', *['damaged'] * 2], known, good, 'CheckpointUnreadable .*/damaged/', 1),
        (['g', 'g', *['blocked'] * 2], known, good, 'FileExistsError .*/blocked/', 1),
    ]
    plan = [(homes, local, server.url(path)) for homes, local, path, *_ in cases]
    host = f'127.0.0.1:{server.server_port}'
    ranks = processes.call(read_all, str(tmp_path), host, plan, count=4)
    assert [rank.returncode for rank in ranks] == [0] * 4, ranks
    assert [rank.stdout for rank in ranks[1:]] == [ranks[0].stdout] * 3
    lines = ranks[0].stdout.splitlines()
    assert len(lines) == len(cases)
    for line, case in zip(lines, cases):
        assert re.match(case[3], line), case
    for path in {case[2] for case in cases}:
        assert server.asked.count(path) == sum(c[4] for c in cases if c[2] == path), path
    assert [path.name for path in damaged.parent.iterdir()] == [f'{good[1:]}.bad']
