# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The kinds of faults: a selection of cosmic-ray's operators, and slips that it does not know.

Of operators that would give several faults at one place, such as `==` for every other comparison,
one is taken.
"""

from __future__ import annotations

from collections.abc import Iterator

import parso
from cosmic_ray.operators.operator import Example, Operator
from cosmic_ray.plugins import OPERATOR_PROVIDERS

CHOSEN = (
    'AddNot',
    'NumberReplacer',
    'RemoveDecorator',
    'ReplaceAndWithOr',
    'ReplaceBinaryOperator_Add_Sub',
    'ReplaceBinaryOperator_BitAnd_BitOr',
    'ReplaceBinaryOperator_BitOr_BitAnd',
    'ReplaceBinaryOperator_Div_Mul',
    'ReplaceBinaryOperator_FloorDiv_Mul',
    'ReplaceBinaryOperator_Mod_FloorDiv',
    'ReplaceBinaryOperator_Mul_Div',
    'ReplaceBinaryOperator_Pow_Mul',
    'ReplaceBinaryOperator_Sub_Add',
    'ReplaceBreakWithContinue',
    'ReplaceComparisonOperator_Eq_NotEq',
    'ReplaceComparisonOperator_Gt_GtE',
    'ReplaceComparisonOperator_GtE_Gt',
    'ReplaceComparisonOperator_Is_IsNot',
    'ReplaceComparisonOperator_IsNot_Is',
    'ReplaceComparisonOperator_Lt_LtE',
    'ReplaceComparisonOperator_LtE_Lt',
    'ReplaceComparisonOperator_NotEq_Eq',
    'ReplaceContinueWithBreak',
    'ReplaceFalseWithTrue',
    'ReplaceOrWithAnd',
    'ReplaceTrueWithFalse',
    'ReplaceUnaryOperator_Delete_Not',
    'ReplaceUnaryOperator_USub_UAdd',
    'ZeroIterationForLoop',
)


class _ByText(Operator):
    """An operator that replaces a node by text; each item of ``texts`` is one fault."""

    def texts(self, node) -> list[str]:
        raise NotImplementedError

    def mutation_positions(self, node) -> Iterator[tuple]:
        for _ in self.texts(node):
            yield node.start_pos, node.end_pos

    def mutate(self, node, index):
        prefix = node.get_first_leaf().prefix
        return parso.python.tree.Name(self.texts(node)[index], node.start_pos, prefix)


class DropKeyword(_ByText):
    """A call without one of its keyword arguments, so with the default."""

    def texts(self, node):
        if node.type == 'arglist':
            parts = [part for part in node.children if part != ',']
        elif node.type == 'argument' and node.parent.type in ('trailer', 'classdef'):
            parts = [node]
        else:
            return []
        code = [part.get_code(include_prefix=False) for part in parts]
        return [
            ', '.join(code[:i] + code[i + 1 :])
            for i, part in enumerate(parts)
            if part.type == 'argument' and part.children[1] == '='
        ]

    @classmethod
    def examples(cls):
        return (Example('f(a, b=1)', 'f(a)'), Example('f(b=1)', 'f()'))


class DropStatement(_ByText):
    """A call whose value is not used, or an augmented assignment, is left out."""

    def texts(self, node):
        if node.parent is None or node.parent.type not in ('simple_stmt', 'suite'):
            return []
        if node.type in ('atom_expr', 'power'):
            called = node.children[-1]
            return ['pass'] if called.type == 'trailer' and called.children[0] == '(' else []
        assigned = node.type == 'expr_stmt' and node.children[1]
        return ['pass'] if assigned and assigned != '=' and assigned.type != 'annassign' else []

    @classmethod
    def examples(cls):
        return (Example('f(a)\n', 'pass\n'), Example('a += 1\n', 'pass\n'))


class DropElement(_ByText):
    """A tuple, list, set or dictionary without one of its elements."""

    def texts(self, node):
        if node.type not in ('testlist_comp', 'dictorsetmaker'):
            return []
        if any(child.type in ('sync_comp_for', 'comp_for') for child in node.children):
            return []
        elements, now = [], ''
        for child in node.children:
            if child == ',':
                elements.append(now.strip())
                now = ''
            else:
                now += child.get_code()
        elements += [now.strip()] if now.strip() else []
        if len(elements) < 2:
            return []
        comma = ',' if len(elements) == 2 else ''
        return [', '.join(elements[:i] + elements[i + 1 :]) + comma for i in range(len(elements))]

    @classmethod
    def examples(cls):
        return (Example('a = [b, c, d]', 'a = [c, d]'),)


class ChangeString(_ByText):
    """A name in a string, such as a key or a suffix, is another one."""

    def texts(self, node):
        if node.type != 'string' or node.parent.type in ('simple_stmt', 'strings'):
            return []
        value = node.value
        if value[0] not in '\'"' or value[:3] in ('"""', "'''") or ' ' in value or len(value) < 3:
            return []
        return [f'{value[:-1]}_{value[-1]}']

    @classmethod
    def examples(cls):
        return (Example("a = 'b'", "a = 'b_'"),)


# Functions of which the order of two arguments does not matter.
SYMMETRIC = ('max', 'maximum', 'min', 'minimum')


class SwapArguments(_ByText):
    """A call whose first two positional arguments have changed places."""

    def texts(self, node):
        if node.type != 'arglist':
            return []
        parts = [part for part in node.children if part != ',']
        code = [part.get_code(include_prefix=False) for part in parts]
        starred = [part.type == 'argument' for part in parts[:2]]
        name = node.get_first_leaf().get_previous_leaf().get_previous_leaf().value
        if len(parts) < 2 or any(starred) or code[0] == code[1] or name in SYMMETRIC:
            return []
        return [', '.join([code[1], code[0], *code[2:]])]

    @classmethod
    def examples(cls):
        return (Example('f(a, b)', 'f(b, a)'),)


OURS = (ChangeString, DropElement, DropKeyword, DropStatement, SwapArguments)


def operators() -> dict[str, Operator]:
    """All kinds of faults by name."""
    core = OPERATOR_PROVIDERS['core']
    return {**{name: core[name]() for name in CHOSEN}, **{op.__name__: op() for op in OURS}}
