# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""data/cache.py: facts are read once, and never wrong, whatever happens to the cache."""

import hashlib
import json
import os
import threading
import time
from pathlib import Path

import processes
import pytest

from mmconvnext.data import cache
from mmconvnext.data.cache import cache_root, facts_of, locked, stamps_of


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A cache folder of the test's own."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    return tmp_path / 'cache'


@pytest.fixture
def files(tmp_path):
    """Files in two folders, of which two have the same name."""
    names = ['one/a.txt', 'one/b.txt', 'two/a.txt', 'two/c d.txt']
    for i, name in enumerate(names):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text('x' * (i + 1))
    return [tmp_path / name for name in names]


@pytest.fixture
def reader():
    """Gives the size of a file, and remembers the files that were read."""

    def read(file):
        read.files.append(file)
        try:
            return [file.stat().st_size, '']
        except OSError as error:
            return [0, str(error)]

    read.files = []
    return read


def facts(files, read, version=1):
    return facts_of(files, read, 'sizes', version, 'files read')


def test_all_files_are_read_in_their_order(files, reader):
    order = [files[2], files[0], files[3], files[1]]
    assert facts(order, reader) == {f: [f.stat().st_size, ''] for f in order}
    assert sorted(reader.files) == sorted(files)


@pytest.mark.parametrize('quick', [0, 1])
@pytest.mark.parametrize('count', [1, 31, 32, 33, 65])
def test_none_is_forgotten_between_the_parts_of_threads(
    tmp_path, reader, count, quick, monkeypatch
):
    monkeypatch.setattr(cache, 'QUICK', quick)
    names = [tmp_path / f'{i}.txt' for i in range(count)]
    for i, file in enumerate(names):
        file.write_text('x' * i)
    assert [size for size, _ in facts(names, reader).values()] == [*range(count)]
    assert list(facts(names, reader)) == names
    assert len(reader.files) == count


@pytest.mark.parametrize('part, alone', [(0.99, True), (1, False)])
def test_threads_read_what_is_slow_to_read(tmp_path, monkeypatch, part, alone):
    """The time of the first files decides."""
    names = [tmp_path / f'{i}.txt' for i in range(cache.PART + 1)]
    times, readers = iter([5.0, 5.0 + part]), set()
    monkeypatch.setattr(cache, 'QUICK', 1 / cache.PART)
    monkeypatch.setattr(cache.time, 'perf_counter', lambda: next(times))
    facts(names, lambda file: readers.add(threading.get_ident()) or [''])
    assert (readers == {threading.get_ident()}) is alone


def test_the_second_time_only_what_changed_is_read(files, reader):
    facts(files, reader)
    reader.files.clear()
    files[1].write_text('changed')
    os.utime(files[3], ns=(1, 1))
    found = facts(files, reader)
    assert sorted(reader.files) == sorted([files[1], files[3]])
    assert found[files[1]] == [7, ''] and found[files[0]] == [1, '']


def test_same_size_and_other_time_is_another_file(files, reader):
    facts(files, reader)
    reader.files.clear()
    stat = files[0].stat()
    files[0].write_text('y')
    os.utime(files[0], ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    facts(files, reader)
    assert reader.files == [files[0]]


def test_errors_are_tried_again(files, reader):
    gone = files[0].with_name('gone.txt')
    assert 'No such file' in facts([gone], reader)[gone][-1]
    gone.write_text('here')
    assert facts([gone], reader) == {gone: [4, '']}


def test_removed_files_are_forgotten(files, reader, home):
    facts(files, reader)
    files[0].unlink()
    facts([files[1].with_name('a.txt'), files[1]], reader)
    (files[0].with_name('new.txt')).write_text('new')
    facts([files[0].with_name('new.txt')], reader)
    kept = [json.loads(path.read_text())['files'] for path in home.rglob('*.json')]
    assert sorted(name for part in kept for name in part) == [
        'a.txt',
        'b.txt',
        'c d.txt',
        'new.txt',
    ]


def test_another_version_is_read_again(files, reader):
    facts(files, reader)
    facts(files, reader, version=2)
    assert len(reader.files) == 2 * len(files)
    facts(files, reader, version=2)
    assert len(reader.files) == 2 * len(files)


@pytest.mark.parametrize(
    'content',
    [
        b'',
        b'{"version": 1, "files": {"a.t',
        b'\xff\xfe\x00',
        b'[]',
        b'{"version": 1}',
        b'{"version": 1, "files": []}',
        b'{"version": 1, "files": {"a.txt": 7, "b.txt": []}}',
        b'{"version": 1, "files": {"a.txt": [[1, 2], []], "b.txt": [1, 2]}}',
        b'[' * 100_000,
    ],
)
def test_a_damaged_cache_is_read_again(files, reader, home, content):
    expected = facts(files, reader)
    for path in home.rglob('*.json'):
        path.write_bytes(content)
    assert facts(files, reader) == expected
    reader.files.clear()
    assert facts(files, reader) == expected and not reader.files


@pytest.mark.parametrize('where', ['a file', 'nowhere'])
def test_without_a_place_for_the_cache_all_is_read(files, reader, home, monkeypatch, where):
    home.write_text('in the way')
    if where == 'nowhere':
        monkeypatch.setenv('XDG_CACHE_HOME', 'relative')
    assert facts(files, reader) == facts(files, reader)
    assert len(reader.files) == 2 * len(files)


def test_a_full_disk_leaves_the_old_cache(files, reader, home, monkeypatch):
    facts(files[:1], reader)
    before = {path: path.read_bytes() for path in home.rglob('*.json')}

    def full(self, *args, **kwargs):
        raise OSError(28, 'No space left on device')

    with monkeypatch.context() as patch:
        patch.setattr(Path, 'write_text', full)
        assert facts(files[:2], reader)[files[1]] == [2, '']
    assert {path: path.read_bytes() for path in home.rglob('*') if path.is_file()} == before


def test_links_to_a_folder_share_its_cache(files, reader, tmp_path):
    facts(files, reader)
    (tmp_path / 'link').symlink_to(tmp_path / 'one')
    reader.files.clear()
    assert facts([tmp_path / 'link/a.txt'], reader) == {tmp_path / 'link/a.txt': [1, '']}
    assert not reader.files


@pytest.mark.slow
def test_two_processes_at_once_leave_a_whole_cache(files, reader, home):
    code = f"""
from pathlib import Path
from mmconvnext.data.cache import facts_of
files = [Path(name) for name in {[str(f) for f in files]!r}]
for version in range(4):
    facts_of(files, lambda f: [f.stat().st_size, ''], 'sizes', version, 'files')
"""
    threads = [threading.Thread(target=lambda: results.append(processes.run(code))) for _ in 'ab']
    results = []
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [result.returncode for result in results] == [0, 0]
    assert facts(files, reader, version=3) and not reader.files
    assert not [path for path in home.rglob('*.part')]


def test_progress_is_told_once_it_takes_long(files, reader, monkeypatch, capsys):
    facts(files, reader, version=5)
    assert 'files read' not in capsys.readouterr().out
    monkeypatch.setattr(cache, 'SILENT', -1)
    facts(files, reader, version=6)
    assert 'files read: 4 of 4' in capsys.readouterr().out


# Stamps


def test_stamps_are_those_of_files(files, tmp_path):
    (files[0].parent / 'folder').mkdir()
    (files[0].parent / 'dead').symlink_to('nowhere')
    (files[0].parent / 'link').symlink_to(files[3])
    stamps = stamps_of(files[0].parent)
    assert sorted(stamps) == ['a.txt', 'b.txt', 'link']
    stat = files[0].stat()
    assert stamps['link'][0] == 4
    assert stamps['a.txt'] == [1, stat.st_mtime_ns, stat.st_ctime_ns]
    assert stamps_of(tmp_path / 'none') == {}


# Root


def test_the_root_is_in_the_users_cache(monkeypatch, tmp_path):
    assert cache_root() == tmp_path / 'cache/mmconvnext'
    monkeypatch.delenv('XDG_CACHE_HOME')
    monkeypatch.setenv('HOME', str(tmp_path))
    assert cache_root() == tmp_path / '.cache/mmconvnext'
    monkeypatch.setenv('XDG_CACHE_HOME', 'relative')
    assert cache_root() == Path(os.devnull)


# Locks


def test_a_lock_keeps_others_waiting_and_says_so(tmp_path, capsys):
    file, order = tmp_path / 'sub/work.json', []

    def work():
        with locked(file):
            order.append('second')

    with locked(file):
        thread = threading.Thread(target=work)
        thread.start()
        time.sleep(0.1)
        order.append('first')
    thread.join()
    assert order == ['first', 'second']
    assert 'waiting for another process that works on work' in capsys.readouterr().out


def test_without_locks_the_work_is_done(tmp_path):
    (tmp_path / 'in the way').touch()
    with locked(tmp_path / 'in the way/work.json'):
        done = True
    assert done


def test_an_error_in_the_work_frees_the_lock(tmp_path):
    for _ in range(2):
        with pytest.raises(OSError, match='mine'), locked(tmp_path / 'work.json'):
            raise OSError('mine')


# What is not used any more


def test_files_that_nobody_used_for_long_are_removed(tmp_path, monkeypatch):
    now = time.time()
    for name, read, made in (
        ('old', 91, 91),
        ('read', 89, 200),
        ('made', 200, 89),
        ('used', 200, 200),
    ):
        (tmp_path / name).write_text(name)
        os.utime(tmp_path / name, (now - 86400 * read, now - 86400 * made))
    made = (tmp_path / 'used').stat().st_mtime_ns
    cache.used(tmp_path / 'used')
    cache.used(tmp_path / 'none')
    with cache.written(tmp_path / 'new') as part:
        part.write_text('new')
    assert {file.name for file in tmp_path.iterdir()} == {'read', 'made', 'used', 'new'}
    assert (tmp_path / 'used').stat().st_mtime_ns == made
    cache.forget_unused(tmp_path / 'none')


def test_facts_in_use_stay(files, reader, home):
    facts(files[:2], reader)
    (kept,) = home.rglob('*.json')
    os.utime(kept, (0, 0))
    facts(files[:2], reader)  # reads it
    facts(files[2:], reader)  # writes that of another folder
    assert len([*home.rglob('*.json')]) == 2 and kept.is_file()


def test_what_cannot_be_written_is_told(home):
    home.write_text('')
    message = r'a\.txt cannot be written to the cache \(.*\); set the variable XDG_CACHE_HOME'
    with pytest.raises(ValueError, match=message):
        with cache.written(home / 'a.txt'):
            pass


# Bounds


class Clock:
    """time.monotonic() and what is printed."""

    def __init__(self, monkeypatch):
        self.now, self.lines = 1000.0, []
        monkeypatch.setattr(cache.time, 'monotonic', lambda: self.now)
        monkeypatch.setattr(cache, 'print_log', self.lines.append)


def test_progress_has_a_line_each_five_seconds(monkeypatch):
    clock = Clock(monkeypatch)
    progress = cache.Progress('files read', 90)
    for seconds, done in ((5, 10), (5.5, 22), (10, 30), (10.5, 42), (11, 50), (20, 80)):
        clock.now = 1000.0 + seconds
        progress.show(done)
    assert clock.lines == [
        'files read: 22 of 90, 4 a second',
        'files read: 50 of 90, 5 a second',
        'files read: 80 of 90, 4 a second',
    ]


def test_progress_counts_what_was_known(files, reader, monkeypatch):
    facts(files, reader)
    files[3].write_text('changed')
    monkeypatch.setattr(cache, 'SILENT', -1)
    lines = []
    monkeypatch.setattr(cache, 'print_log', lines.append)
    facts([files[2], files[3], files[0], files[1]], reader)
    (line,) = lines
    assert line.startswith('files read: 1 of 4, ')
    files[0].write_text('changed')
    facts([files[2], files[3], files[0], files[1]], reader)
    assert lines[1].startswith('files read: 3 of 4, ')


def test_files_are_kept_for_ninety_days(tmp_path):
    now = time.time()
    for name, later in (('young', 60), ('old', -60)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (now - 90 * 86400 + later,) * 2)
    cache.forget_unused(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ['young']


def test_facts_that_nobody_used_for_long_are_removed(files, reader, home):
    facts(files[:2], reader)
    (kept,) = home.rglob('*.json')
    os.utime(kept, (0, 0))
    facts(files[2:], reader)  # writes those of another folder
    assert not kept.exists() and len([*home.rglob('*.json')]) == 1


def test_the_use_of_facts_and_locks_is_noted(files, reader, home, monkeypatch):
    """Not every disk keeps the time of access by itself."""
    facts(files[:2], reader)
    (kept,), noted = home.rglob('*.json'), []
    monkeypatch.setattr(cache, 'used', noted.append)
    facts(files[:2], reader)
    with locked(home / 'work.json'):
        pass
    assert noted == [kept, home / 'work.json.lock']


def test_a_use_sets_the_time_of_access_only(tmp_path):
    file = tmp_path / 'a'
    file.touch()
    os.utime(file, ns=(5, 7))
    before = time.time_ns()
    cache.used(file)
    stat = file.stat()
    assert stat.st_mtime_ns == 7 and before - 10**9 <= stat.st_atime_ns <= time.time_ns()


def test_the_hash_is_that_of_the_whole_content(tmp_path):
    for size in (0, 1, 2**20, 2**20 + 1, 3 * 2**20 - 1):
        content = bytes(i % 251 for i in range(1000)) * (size // 1000 + 1)
        (tmp_path / 'a').write_bytes(content[:size])
        assert cache.hash_of(tmp_path / 'a').digest() == hashlib.sha256(content[:size]).digest()


def test_facts_of_other_kinds_and_folders_are_apart(files, reader, home):
    facts_of(files[:1], reader, 'sizes', 1, 'files read')
    facts_of(files[:1], lambda file: ['other', ''], 'names', 1, 'files read')
    facts_of(files[2:3], lambda file: ['third', ''], 'names', 1, 'files read')
    assert sorted(file.parent.name for file in home.rglob('*.json')) == ['names', 'names', 'sizes']
    assert facts_of(files[:1], reader, 'names', 1, 'files read') == {files[0]: ['other', '']}
    assert facts_of(files[2:3], reader, 'names', 1, 'files read') == {files[2]: ['third', '']}


def test_facts_of_files_that_vanish_while_they_are_read_are_not_kept(files, home):
    def read(file):
        if file == files[0]:
            file.unlink()
        return [1, '']

    assert facts(files[:2], read) == {files[0]: [1, ''], files[1]: [1, '']}
    files[0].write_text('x')
    assert facts(files[:2], lambda file: [2, '']) == {files[0]: [2, ''], files[1]: [1, '']}


def test_an_entry_with_more_than_stamps_and_facts_is_no_entry(files, reader, home):
    facts(files[:2], reader)
    (kept,) = home.rglob('*.json')
    content = json.loads(kept.read_text())
    stamps, known = content['files']['a.txt']
    for entry in ([stamps], [stamps, known, 1], [stamps, []], [stamps, 7], {'0': stamps}):
        content['files']['a.txt'] = entry
        kept.write_text(json.dumps(content))
        assert facts(files[:2], reader) == {files[0]: [1, ''], files[1]: [2, '']}
    assert reader.files.count(files[0]) == 6 and reader.files.count(files[1]) == 1


def test_what_is_written_is_whole_or_not_there(home):
    with pytest.raises(ZeroDivisionError):
        with cache.written(home / 'sub/a.txt') as part:
            part.write_text('half')
            raise ZeroDivisionError
    assert not [*home.rglob('a.txt*')]
