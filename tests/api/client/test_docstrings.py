"""Each public docstring has an example, and it is true of a real service and a real process."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
from typing import TYPE_CHECKING

import pytest

from farpeek_api import client
from farpeek_api.client.operations import flow, operation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.sample import Sample
    from support.wire import Served

PUBLIC = (client.Client, client.Target)


def _operations() -> Iterator[tuple[str, object]]:
    for kind in PUBLIC:
        for name, found in inspect.getmembers_static(kind):
            if isinstance(found, (operation, flow)):
                yield f"{kind.__name__}.{name}", found


@pytest.mark.parametrize("name", [name for name, _ in _operations()])
def test_each_operation_has_an_example(name: str) -> None:
    doc = dict(_operations())[name].__doc__
    assert doc is not None
    assert ">>> " in doc


def _examples() -> list[doctest.DocTest]:
    finder = doctest.DocTestFinder(exclude_empty=True)
    modules = pkgutil.iter_modules(client.__path__, f"{client.__name__}.")
    found: list[doctest.DocTest] = []
    for each in modules:
        found += finder.find(importlib.import_module(each.name))
    return [example for example in found if example.examples]


@pytest.mark.parametrize("example", _examples(), ids=lambda each: each.name)
def test_an_example_is_true(example: doctest.DocTest, served: Served, sample: Sample) -> None:
    url = f"unix:{served.path}"
    with client.Client(url) as peek:
        example.globs |= {
            "url": url,
            "peek": peek,
            "pid": sample.pid,
            "target": peek.target(sample.pid),
            "address": sample.address,
            "closed": sample.address + sample.size,
            "Client": client.Client,
            "AsyncClient": client.AsyncClient,
            "Forbidden": client.Forbidden,
        }
        report: list[str] = []
        runner = doctest.DocTestRunner(verbose=False)
        runner.run(example, out=report.append)
        assert not report, "".join(report)
