# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Texts of configs; ``{head}`` is a sound recipe with own data."""

from malformed import Case

RUNS = 'which training needs: begin with _base_ and a recipe'
CASES = {
    'empty': Case('', f'the config has no model, train_dataloader, .*, {RUNS}'),
    'cut off': Case('model = dict(\n', r"c\.py, line 1: SyntaxError: '\(' was never closed"),
    'null byte': Case('model = 1\0', 'SyntaxError: source code string cannot contain null bytes'),
    'no text': Case(b'\x80\x02\xff', r"c\.py is no text in UTF-8: 'utf-8' codec can't decode"),
    'raises': Case(
        'a = 1\nb = a / 0\n', 'line 2: ZeroDivisionError: division by zero\n  b = a / 0'
    ),
    'unknown name': Case('a = b\n', "line 1: NameError: name 'b' is not defined"),
    'no such attribute': Case(
        'import os\nmodel = os.no\n', r'cannot be read: .*(import os\.no|no attribute)'
    ),
    'no such module': Case('import no_such_module\n', f'the config has no model, .*, {RUNS}'),
    'no such custom module': Case(
        "custom_imports = dict(imports=['no_such'], allow_failed_imports=False)\n",
        r"custom_imports has \['no_such'\], which is not installed, .*\n  custom_imports = None",
    ),
    'no such base': Case("_base_ = 'gone.py'\n", r'its _base_ .*gone\.py does not exist; paths in'),
    'a base that is a number': Case(
        '_base_ = 7\n', r"c\.py: TypeError: argument of type 'int' is n"
    ),
    'ends the program': Case(
        'import sys\nsys.exit(3)\n', r'c\.py ends the program \(SystemExit: 3'
    ),
    'calls itself': Case('def f():\n    f()\nf()\n', r'c\.py: RecursionError: maximum recursion'),
    'reserved key': Case('filename = 1\n', 'KeyError: filename is reserved for config file'),
    'model is a list': Case('{head}model = [1]\n', r'model=\[1\]: a section is a dict'),
    'model is empty': Case(
        '{head}model = dict(_delete_=True)\n', f'the config has no model, {RUNS}'
    ),
    'loader is a number': Case(
        '{head}train_dataloader = 7\n', 'train_dataloader=7: a section is a'
    ),
    'evaluator is a text': Case(
        "{head}val_evaluator = 'mAP'\n", 'val_evaluator=mAP: a section is a dict'
    ),
    'unknown size': Case(
        "{head}model = dict(backbone=dict(arch='tinny'))\n",
        r"model\.backbone: arch='tinny' is unknown; choose one of \['atto'",
    ),
    'unknown argument': Case(
        '{head}model = dict(backbone=dict(drop_path=0.1))\n',
        r"unexpected keyword arguments \['drop_path'\]; did you mean drop_path_rate",
    ),
    'unknown optimizer': Case(
        "{head}optim_wrapper = dict(optimizer=dict(type='AdamWW'))\n",
        r"optim_wrapper\.optimizer\.type='AdamWW' is unknown; did you mean AdamW",
    ),
    'learning rate is NaN': Case(
        "{head}optim_wrapper = dict(optimizer=dict(lr=float('nan')))\n",
        r'optim_wrapper\.optimizer\.lr=nan: choose a number of 0 or more',
    ),
    'learning rate is a text': Case(
        "{head}optim_wrapper = dict(optimizer=dict(lr='1e-4'))\n",
        r"\.lr='1e-4': choose a number of",
    ),
    'no epochs': Case(
        '{head}train_cfg = dict(max_epochs=0)\n', r'train_cfg\.max_epochs=0: choose a whole number'
    ),
    'half an epoch': Case(
        '{head}train_cfg = dict(max_epochs=0.5)\n', r'train_cfg\.max_epochs=0\.5: choose a whole'
    ),
    'workers below 0': Case(
        '{head}train_dataloader = dict(num_workers=-1)\n',
        r'train_dataloader\.num_workers=-1: choose a whole number of 0 or more',
    ),
    'no images in a batch': Case(
        '{head}train_dataloader = dict(batch_size=0)\n',
        r'train_dataloader\.batch_size=0: choose a whole number of 1 or more',
    ),
    'batch size is a text': Case(
        "{head}train_dataloader = dict(batch_size='2')\n", r"batch_size='2': choose a whole number"
    ),
    'another project': Case(
        "{head}default_scope = 'mmpose'\n", r"default_scope='mmpose': these tools run configs of"
    ),
    'lenient is a text': Case(
        "{head}lenient_loading = 'yes'\n", "lenient_loading='yes': choose True or False"
    ),
    'classes are a text': Case(
        "{head}own_data['classes'] = 'cat'\n",
        r"own_data\.classes must be a list with the name of every class, got 'cat'",
    ),
    'no classes': Case(
        "{head}own_data['classes'] = ()\n", r'own_data\.classes must be .*, got \(\)'
    ),
    'a class twice': Case(
        "{head}own_data['classes'] = ('cat', 'cat')\n", "has the class 'cat' twice; write it once"
    ),
    'a class that the file lacks': Case(
        "{head}own_data['classes'] = ('cat', 'dgo')\n",
        r"no match for \['dgo'\] in \['cat', 'dog'\]",
    ),
    'unknown key': Case(
        "{head}own_data['clases'] = ()\n", r"own_data has unknown keys \['clases'\]"
    ),
    'split is a text': Case(
        "{head}own_data['train'] = 'a.json'\n", r'own_data\.train must be dict\(images=\.\.\., ann'
    ),
    'no such folder': Case(
        "{head}own_data['root'] = 'gone'\n", r'gone does not exist\. Expected lay'
    ),
    'no such annotations': Case(
        "{head}own_data['train'] = dict(images='.', annotations='gone.json')\n",
        r'gone\.json does not exist\. Expected layout',
    ),
    'no such images': Case(
        "{head}own_data['train'] = dict(images='gone', annotations='a.json')\n",
        r'/gone does not exist\. Expected layout',
    ),
}
# Of other suffixes; the key is the name of the file.
OTHERS = {
    'c.json': Case('{"a": ', r'c\.json: JSONDecodeError: Expecting value: line 1 column 7'),
    'd.json': Case('[1]', r"d\.json: AttributeError: 'list' object has no attribute"),
    'c.yaml': Case('a: [', r'c\.yaml: ParserError: while parsing a flow node'),
    'd.yaml': Case(
        'a: !!python/object/apply:os.system [touch ran]',
        r'd\.yaml is more than data, which is not read from YAML: could not determine a cons',
    ),
    'c.txt': Case('a', r'c\.txt is no config \(\.py, \.yml, \.yaml, \.json\); the config comes fi'),
    'c.pth': Case(
        b'PK\3\4', r'c\.pth is no config \(.*the config comes first, then the checkpoint'
    ),
}
