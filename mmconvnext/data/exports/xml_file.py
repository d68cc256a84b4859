# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Parses XML of others with defusedxml, which refuses entities that grow without end."""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

from .folder import SourceError


def read_xml(file: Path) -> Element:
    """The root of a file, its names without their namespaces.

    Raises:
        ValueError: it is no XML, or has entities; the message says where.
        SourceError: defusedxml is not installed.
    """
    try:
        from defusedxml import DefusedXmlException
        from defusedxml.ElementTree import parse
    except ImportError as error:
        raise SourceError(f'{file.name} is XML, which needs: pip install defusedxml') from error
    try:
        root = parse(file).getroot()
    except ParseError as error:
        raise ValueError(str(error)) from error
    except DefusedXmlException as error:
        raise ValueError(f'it defines entities, which are refused ({error.name})') from error
    for element in root.iter():
        element.tag = element.tag.rpartition('}')[2]
    return root
