# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: a file is read by content or refused by name; it runs no code and is not changed."""

import json
import shutil
import struct
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import pytest
import torch
from safetensors.torch import save, save_file
from torch import nn

from mmconvnext.checkpoint.errors import CheckpointError, CheckpointUnreadable
from mmconvnext.checkpoint.read import read_checkpoint
from mmconvnext.checkpoint.safe_globals import LISTS_NAMES

WEIGHTS_ONLY = pytest.mark.skipif(
    torch.__version__ < LISTS_NAMES, reason='read by our own unpickler, to which it is harmless'
)
WEIGHTS = {'first.weight': torch.arange(4000.0).reshape(8, 500), 'second.bias': torch.ones(3)}


def assert_whole(content: dict) -> None:
    assert content.keys() == WEIGHTS.keys()
    assert all(torch.equal(content[name], WEIGHTS[name]) for name in WEIGHTS)


def legacy(path: Path) -> None:
    torch.save(WEIGHTS, path, _use_new_zipfile_serialization=False)


WRITERS = {
    'zip': lambda path: torch.save(WEIGHTS, path),
    'legacy': legacy,
    'safetensors': lambda path: save_file(WEIGHTS, path),
}


def in_bytes(kind: str, folder: Path) -> bytes:
    WRITERS[kind](folder / 'whole')
    content = (folder / 'whole').read_bytes()
    (folder / 'whole').unlink()
    return content


def write_shards(folder: Path, kind: str) -> Path:
    """One tensor per file, and the index."""
    stem, suffix, write = (
        ('model', 'safetensors', save_file)
        if kind == 'safetensors'
        else ('pytorch_model', 'bin', torch.save)
    )
    folder.mkdir(exist_ok=True)
    files = {name: f'{stem}-0000{i}-of-00002.{suffix}' for i, name in enumerate(WEIGHTS, 1)}
    for name, file in files.items():
        write({name: WEIGHTS[name]}, folder / file)
    return write_index(folder / f'{stem}.{suffix}.index.json', files)


def write_index(path: Path, files: object) -> Path:
    path.write_text(json.dumps({'metadata': {'total_size': 1}, 'weight_map': files}, indent=2))
    return path


# Containers


@pytest.mark.parametrize('suffix', ['.pth', '.pt', '.bin', '.safetensors', '.json', ''])
@pytest.mark.parametrize('kind', WRITERS)
def test_the_content_decides_not_the_name(kind, suffix, tmp_path):
    path = tmp_path / f'weights{suffix}'
    WRITERS[kind](path)
    assert_whole(read_checkpoint(path))
    assert_whole(read_checkpoint(str(path)))


@pytest.mark.parametrize('kind', ['safetensors', 'bin'])
def test_shards_become_one(kind, tmp_path):
    index = write_shards(tmp_path, kind)
    assert_whole(read_checkpoint(index))
    assert_whole(read_checkpoint(tmp_path))  # the folder: as a Hugging Face repository


@pytest.mark.parametrize(
    ('name', 'kind'), [('model.safetensors', 'safetensors'), ('pytorch_model.bin', 'zip')]
)
def test_folder_of_a_repository(name, kind, tmp_path):
    WRITERS[kind](tmp_path / name)
    (tmp_path / 'config.json').write_text('{}')
    assert_whole(read_checkpoint(str(tmp_path)))


def test_folder_prefers_safetensors(tmp_path):
    save_file(WEIGHTS, tmp_path / 'model.safetensors')
    torch.save({}, tmp_path / 'pytorch_model.bin')
    assert_whole(read_checkpoint(tmp_path))


def test_folder_is_searched_in_a_fixed_order(tmp_path):
    write_shards(tmp_path, 'safetensors')
    write_shards(tmp_path, 'bin')
    save_file({'a': torch.ones(1)}, tmp_path / 'model.safetensors')
    torch.save({'b': torch.ones(1)}, tmp_path / 'pytorch_model.bin')
    for shard in tmp_path.glob('pytorch_model-*'):  # so that the last index is told from the first
        torch.save({'c': torch.ones(1), **torch.load(shard, weights_only=True)}, shard)
    order = ['model.safetensors', 'model.safetensors.index.json']
    order += ['pytorch_model.bin', 'pytorch_model.bin.index.json']
    for name, found in zip(order, [['a'], [*WEIGHTS], ['b'], ['c', *WEIGHTS]]):
        assert sorted(read_checkpoint(tmp_path)) == found
        (tmp_path / name).unlink()
    with pytest.raises(CheckpointUnreadable, match=f'contains none of {", ".join(order)}$'):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ('length', 'match'),
    [(100_000_000, 'damaged or truncated safetensors'), (100_000_001, 'is not a checkpoint')],
)
def test_length_of_a_safetensors_header_is_limited(length, match, tmp_path):
    (tmp_path / 'w').write_bytes(struct.pack('<Q', length) + b'{"a": 1}')
    assert_refused(tmp_path / 'w', match)


@pytest.mark.parametrize(
    ('map_location', 'device'),
    [
        *(('cuda:1', 'cuda:1'), (torch.device('cuda', 2), 'cuda:2'), ('meta', 'meta')),
        *((None, 'cpu'), ({'cuda:0': 'cpu'}, 'cpu'), (lambda storage, _: storage, 'cpu')),
    ],
)
def test_device_of_safetensors(map_location, device, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        'safetensors.torch.load_file', lambda path, device='?': asked.append(device) or WEIGHTS
    )
    WRITERS['safetensors'](tmp_path / 'w')
    assert read_checkpoint(tmp_path / 'w', map_location) is WEIGHTS
    assert asked == [device]


@pytest.mark.parametrize(
    ('error', 'kind', 'match'),
    [
        (MemoryError('m'), MemoryError, '^m$'),
        (torch.cuda.OutOfMemoryError('o'), torch.cuda.OutOfMemoryError, '^o$'),
        (RuntimeError('use map_location'), RuntimeError, '^use map_location$'),
        (KeyError(), CheckpointUnreadable, r'is damaged or truncated \(4 bytes\): KeyError$'),
        (
            RuntimeError('long ' * 50),
            CheckpointUnreadable,
            r'is damaged or truncated \(4 bytes\): (long ){23}\.\.\.$',
        ),
        (RuntimeError('TorchScript'), CheckpointUnreadable, 'is a TorchScript program, not a'),
        (
            UnpicklingError('pickle data was truncated'),
            CheckpointUnreadable,
            'w is truncated: pickl',
        ),
        (UnpicklingError('Ran out of input'), CheckpointUnreadable, 'w is truncated: Ran out'),
        (
            UnpicklingError("Can only build Tensor, but got <class 'a.b.C'>"),
            CheckpointUnreadable,
            r'not read: it holds a\.b\.C, which could run code',
        ),
        (UnpicklingError('odd\n  one'), CheckpointUnreadable, "not read: torch says 'odd one'"),
    ],
    ids=str,
)
def test_every_error_of_torch_is_passed_on_or_explained(error, kind, match, tmp_path, monkeypatch):
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr('mmconvnext.checkpoint.read.torch_load', fail)
    (tmp_path / 'w').write_bytes(b'PK\x03\x04')
    with pytest.raises(kind, match=match) as found:
        read_checkpoint(tmp_path / 'w')
    assert found.type is kind


def test_home_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    torch.save(WEIGHTS, tmp_path / 'weights.pth')
    assert_whole(read_checkpoint('~/weights.pth'))


def test_file_comes_before_a_short_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(WEIGHTS, tmp_path / 'convnext-tiny_in1k')
    assert_whole(read_checkpoint('convnext-tiny_in1k'))


def test_header_whose_length_looks_like_json(tmp_path):
    """31520 bytes are 0x7b20: the file begins with a space and a brace, like JSON."""
    content = save(WEIGHTS)
    (length,) = struct.unpack('<Q', content[:8])
    header = content[8 : 8 + length].ljust(31520)
    (tmp_path / 'w').write_bytes(struct.pack('<Q', 31520) + header + content[8 + length :])
    assert (tmp_path / 'w').read_bytes().startswith(b' {')
    assert_whole(read_checkpoint(tmp_path / 'w'))


def test_tensors_are_put_where_they_shall(tmp_path):
    for kind, write in WRITERS.items():
        write(tmp_path / kind)
        tensor = read_checkpoint(tmp_path / kind, 'meta' if kind == 'zip' else 'cpu')['second.bias']
        assert tensor.device.type == ('meta' if kind == 'zip' else 'cpu')


@pytest.mark.skipif(torch.cuda.is_available(), reason='needs a machine without CUDA')
def test_lack_of_a_device_is_no_damage(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(torch.serialization, 'location_tag', lambda storage: 'cuda:0')
        torch.save(WEIGHTS, tmp_path / 'from_cuda.pth')
    assert_whole(read_checkpoint(tmp_path / 'from_cuda.pth'))
    with pytest.raises(RuntimeError, match='map_location') as error:
        read_checkpoint(tmp_path / 'from_cuda.pth', None)
    assert not isinstance(error.value, CheckpointError)


# Faults of the user's own files


def assert_refused(path: Path, match: str, source: object = None) -> None:
    """And everything in the folder stays unchanged."""

    def bytes_of(folder: Path) -> dict:
        return {p: p.read_bytes() for p in sorted(folder.rglob('*')) if p.is_file()}

    before = bytes_of(path.parent)
    with pytest.raises(CheckpointUnreadable, match=match) as error:
        read_checkpoint(path if source is None else source)
    assert str(path) in str(error.value)
    assert bytes_of(path.parent) == before


FAULTS = {
    'empty': (b'', r'w\.pth is empty \(0 bytes\)'),
    'html': (
        b'\n<!DOCTYPE html><html><title>Sign in</title>',
        r"is a web page, not weights: the server answered with b'<!doctype html><html>.* \(a login",
    ),
    'only the head': (b'  <HEAD><title>x', "answered with b'<head><title>x'"),
    'html without doctype': (b'<html><body>404</body></html>', 'is a web page, not weights'),
    'xml': (
        b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
        'is a web page, not weights: the server answered with b\'<?xml version="1.0"',
    ),
    'lfs': (
        b'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n',
        'is a Git LFS pointer, not the weights; run `git lfs pull` in its repository',
    ),
    'text': (
        b'Not Found, and some more',
        r"is not a checkpoint: it begins with b'Not Found, and s'\. Files written by torch",
    ),
    'json': (b'{"error": "gone"}', r"is JSON, but not the index .* \(no 'weight_map'\)"),
    'broken json': (b'{"weight_map": ', r"is JSON, but not the index .* \(no 'weight_map'\)"),
    'deep json': (b'{"a":' * 100_000, 'is JSON, but not the index'),
    'json list': (b'["weight_map"]', 'is not a checkpoint: it begins with'),
    'index without files': (b'{"weight_map": ["a"]}', 'is JSON, but not the index'),
    'index of numbers': (b'{"weight_map": {"a": 1}}', "lists '1', which is not in its folder"),
    'pickle of no torch': (b'\x80\x02}q\x00.', 'is damaged or truncated .*Invalid magic number'),
    'zip of no torch': (b'PK\x05\x06' + bytes(18), 'is not a checkpoint: it begins with'),
}


@pytest.mark.parametrize('fault', FAULTS)
def test_what_is_no_checkpoint_is_named(fault, tmp_path):
    content, match = FAULTS[fault]
    (tmp_path / 'w.pth').write_bytes(content)
    assert_refused(tmp_path / 'w.pth', match.replace('<?xml', r'<\?xml'))


@pytest.mark.parametrize('source', ['~/a b.pth', '~//a b.pth', '{}/a b.pth'])
def test_a_damaged_file_of_the_user_stays_however_it_is_named(source, tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    (tmp_path / 'a b.pth').write_bytes(b'PK\x03\x04, and no more')
    for given in (source.format(tmp_path), Path(source.format(tmp_path))):
        with pytest.raises(CheckpointUnreadable, match='damaged or truncated') as error:
            read_checkpoint(given)
        assert 'downloaded' not in str(error.value) and 'renamed' not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ['a b.pth']


@pytest.mark.parametrize('kind', ['safetensors', 'bin'])
def test_faults_of_shards_are_named(kind, tmp_path):
    index = write_shards(tmp_path / 'missing', kind)
    shard = next(index.parent.glob('*-00002-of*'))
    shard.unlink()
    assert_refused(index, f'index.json lists {shard.name!r}, which is not in its folder')

    index = write_shards(tmp_path / 'lacking', kind)
    shard = next(index.parent.glob('*-00002-of*'))
    shutil.copy(next(index.parent.glob('*-00001-of*')), shard)
    assert_refused(index, f'index.json lists second.bias, but {shard.name} does not contain it')

    index = write_shards(tmp_path / 'cut', kind)
    shard = next(index.parent.glob('*-00001-of*'))
    shard.write_bytes(shard.read_bytes()[:3000])
    assert_refused(shard, 'truncated', index)


@pytest.mark.parametrize('place', ['../secret.pth', 'sub/secret.pth', '..', 'absolute'])
def test_index_reads_nothing_outside_its_folder(place, tmp_path):
    (tmp_path / 'repo/sub').mkdir(parents=True)
    for path in (tmp_path / 'secret.pth', tmp_path / 'repo/sub/secret.pth'):
        torch.save(WEIGHTS, path)
    place = str(tmp_path / 'secret.pth') if place == 'absolute' else place
    index = write_index(tmp_path / 'repo/w.json', dict.fromkeys(WEIGHTS, place))
    assert_refused(index, 'which is not in its folder')


def test_index_that_names_itself_or_a_lone_tensor(tmp_path):
    index = write_index(tmp_path / 'w.json', {'a': 'w.json'})
    assert_refused(index, r'w\.json is not a checkpoint: it begins with')
    torch.save(torch.ones(2), tmp_path / 'tensor.bin')
    write_index(index, {'a': 'tensor.bin'})
    assert_refused(index, 'lists a, but tensor.bin does not contain it')


@pytest.mark.parametrize('kind', WRITERS)
def test_truncated_files_are_refused_at_every_length(kind, tmp_path):
    whole = in_bytes(kind, tmp_path)
    path = tmp_path / 'w.pth'
    lengths = {*range(1, 12), *range(12, len(whole), 97), len(whole) - 1}
    for length in sorted(lengths):
        path.write_bytes(whole[:length])
        with pytest.raises(
            CheckpointUnreadable, match=r'w\.pth is (a )?(damaged|trunc|no|not safe)'
        ):
            read_checkpoint(path)
        assert path.read_bytes() == whole[:length]


@pytest.mark.parametrize(
    ('kind', 'share', 'match'),
    [
        ('zip', 0.1, r'damaged or truncated \(\d+ bytes\): .* failed finding central directory'),
        ('zip', 0.9, r'damaged or truncated \(\d+ bytes\): '),
        ('legacy', 0.5, r'damaged or truncated \(\d+ bytes\): unexpected EOF, expected \d+ more'),
        ('legacy', 0.005, r'damaged or truncated|is truncated'),
        ('safetensors', 0.005, 'a damaged or truncated safetensors file: .*invalid header length'),
        ('safetensors', 0.5, 'a damaged or truncated safetensors file: .*not fully covered'),
    ],
)
def test_truncated_files_are_named(kind, share, match, tmp_path):
    whole = in_bytes(kind, tmp_path)
    (tmp_path / 'w.bin').write_bytes(whole[: int(len(whole) * share)])
    assert_refused(tmp_path / 'w.bin', match)


def test_flipped_byte_in_the_directory_of_a_zip(tmp_path):
    content = bytearray(in_bytes('zip', tmp_path))
    content[content.rindex(b'PK\x01\x02') + 2] ^= 0xFF
    (tmp_path / 'w.pth').write_bytes(content)
    assert_refused(tmp_path / 'w.pth', r'damaged or truncated \(\d+ bytes\): .*(corrupt|invalid)')


@pytest.mark.filterwarnings('ignore:Detected pickle protocol')
@pytest.mark.parametrize('kind', WRITERS)
def test_flipped_bytes_load_or_are_refused(kind, tmp_path):
    """No format has checksums, so damage may go unnoticed; but no other error is raised."""
    whole = in_bytes(kind, tmp_path)
    generator = np.random.default_rng(0)
    ends = [*range(700), *range(-700, 0)]
    for place, flip in zip(generator.choice(ends, 200), generator.integers(1, 256, 200)):
        content = bytearray(whole)
        content[place] ^= int(flip)
        (tmp_path / 'w').write_bytes(content)
        try:
            read_checkpoint(tmp_path / 'w')
        except CheckpointUnreadable as error:
            assert str(tmp_path / 'w') in str(error)


@pytest.mark.filterwarnings('ignore')  # of torch: TorchScript is deprecated
def test_torchscript_is_refused(tmp_path):
    torch.jit.script(nn.Linear(2, 2)).save(str(tmp_path / 'w.pt'))
    assert_refused(tmp_path / 'w.pt', r'is a TorchScript program, .* save its state_dict\(\)')


# Code in files


@pytest.mark.parametrize('zipped', [True, False])
def test_pickled_module_is_refused(zipped, tmp_path):
    torch.save(nn.Linear(2, 2), tmp_path / 'w.pt', _use_new_zipfile_serialization=zipped)
    match = r'is not safe to read and was not read: it holds torch\.nn\.modules\.linear\.Linear, wh'
    assert_refused(tmp_path / 'w.pt', match)


def test_malicious_file_is_refused(evil):
    path, trace = evil
    match = r'not safe to read and was not read: it holds (posix\.system|\S*eval|getattr\(.*\)), wh'
    assert_refused(path, match)
    assert not trace.exists()


@pytest.mark.parametrize('name', ['pytorch_model.bin', 'model.safetensors'])
def test_malicious_file_is_refused_in_a_repository(name, evil, tmp_path):
    path, trace = evil
    folder = tmp_path / 'repo'
    folder.mkdir()
    shutil.copy(path, folder / name)
    assert_refused(folder / name, 'is not safe to read and was not read', folder)
    index = write_index(folder / 'w.json', {'weight': name})
    assert_refused(folder / name, 'is not safe to read and was not read', index)
    assert not trace.exists()


def test_environment_does_not_open_the_door(evil, monkeypatch):
    path, trace = evil
    monkeypatch.setenv('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', '1')
    assert_refused(path, 'is not safe to read and was not read')
    assert not trace.exists()


def test_array_of_objects_is_refused(tmp_path):
    torch.save({'names': np.array([1, 'a'], dtype=object)}, tmp_path / 'w.pt')
    assert_refused(tmp_path / 'w.pt', r"it holds numpy\.dtype\('O8'\), which could")


@WEIGHTS_ONLY
@pytest.mark.filterwarnings('ignore:Detected pickle protocol')
def test_what_torch_has_no_name_for_is_quoted(tmp_path):
    torch.save(WEIGHTS, tmp_path / 'w.pt', pickle_protocol=4)
    match = r"was not read: torch says 'Unsupported operand \d+'\. Ask its author for a file"
    assert_refused(tmp_path / 'w.pt', match)


# Names


@pytest.mark.parametrize(
    ('name', 'match'),
    [
        (
            'convnext-tiny',
            "'convnext-tiny' is neither a file nor the name of published weights; did you mean "
            r'convnext-tiny_in1k, .*\? \(tools/list_weights\.py lists the names\)',
        ),
        ('nowhere/best.pth', r"^'nowhere/best\.pth' is neither a file nor"),
        ('?', r"^'\?' is neither a file nor the name of published weights \(tools/list"),
    ],
)
def test_unknown_name(name, match, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=match):
        read_checkpoint(name)


@pytest.mark.parametrize('value', ['', None, 3])
def test_what_is_no_name(value):
    with pytest.raises(ValueError, match=f'is a path, a URL or a short name, got {value!r}'):
        read_checkpoint(value)


def test_folder_without_weights(tmp_path):
    (tmp_path / 'config.json').write_text('{}')
    match = r'none of model\.safetensors, model\.safetensors\.index\.json, pytorch_model\.bin'
    with pytest.raises(CheckpointUnreadable, match=match):
        read_checkpoint(tmp_path)


def test_a_zip_bomb_is_not_unpacked(tmp_path):
    """A gigabyte of zeros in a megabyte."""
    import zipfile

    torch.save({'weight': torch.zeros(100_000)}, tmp_path / 'plain.pth')
    for method, name in ((zipfile.ZIP_STORED, 'same.pth'), (zipfile.ZIP_DEFLATED, 'bomb.pth')):
        with (
            zipfile.ZipFile(tmp_path / 'plain.pth') as plain,
            zipfile.ZipFile(tmp_path / name, 'w', method) as archive,
        ):
            for entry in plain.namelist():
                archive.writestr(entry, plain.read(entry))
    assert read_checkpoint(tmp_path / 'same.pth')['weight'].shape == (100_000,)
    with pytest.raises(
        CheckpointUnreadable, match=r'it has [\d,]{5} bytes, but 400,\d{3} unpacked\. torch\.save'
    ):
        read_checkpoint(tmp_path / 'bomb.pth')
