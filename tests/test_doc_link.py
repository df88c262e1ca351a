"""Estimators and simulators link to the page that sphinx makes of their class, if there is one."""

import re
from email.message import Message
from importlib import metadata
from pathlib import Path

import pytest
from sklearn.base import BaseEstimator
from sklearn.pipeline import make_pipeline

import sklmacro
from sklmacro import simulators
from sklmacro.sde import PatchSDE
from tests.fitted import Flips

PLACE = "http://localhost:8000"
CLASSES = [
    cls
    for package in (sklmacro, simulators)
    for cls in (getattr(package, name) for name in package.__all__)
    if isinstance(cls, type) and issubclass(cls, BaseEstimator)
]


def pages():
    """Pages of the API reference: autosummary makes one of every entry, in the folder it names."""
    module = folder = ""
    for line in (Path(__file__).parents[1] / "docs/api.md").read_text().splitlines():
        if found := re.match(r"\.\. currentmodule:: (\S+)", line):
            module = found[1]
        elif found := re.match(r"   :toctree: (\S+)", line):
            folder = found[1]
        elif found := re.match(r"   (\w+)$", line):
            yield f"{folder}/{module}.{found[1]}.html"


def shown(estimator):
    """Addresses of the question marks in the HTML representation."""
    return re.findall(
        r'<a class="sk-estimator-doc-link[^>]*href="([^"]*)"', estimator._repr_html_()
    )


def link(cls):
    return cls.__new__(cls)._get_doc_link()


@pytest.fixture
def _public(monkeypatch):
    monkeypatch.setenv("SKLMACRO_DOCS", PLACE)


@pytest.mark.usefixtures("_public")
@pytest.mark.parametrize("cls", CLASSES)
def test_the_link_is_that_of_a_page(cls):
    found = link(cls)
    assert found.endswith(f".{cls.__name__}.html")
    assert found in [f"{PLACE}/{page}" for page in pages()]


@pytest.mark.usefixtures("_public")
def test_a_pipeline_links_every_step_and_scikit_learn_its_own():
    steps = (sklmacro.HierarchicalUpsampler(simulators.Ising()), sklmacro.OnsagerSDE())
    links = shown(make_pipeline(*steps))
    assert [url for url in links if url.startswith(PLACE)] == [link(type(step)) for step in steps]
    assert any("sklearn.pipeline.Pipeline" in url for url in links)


@pytest.mark.usefixtures("_public")
def test_no_link_leads_to_a_class_without_a_page():
    assert link(PatchSDE) == ""  # a base
    assert link(Flips) == ""  # a user's own


def test_without_an_address_there_is_no_link(monkeypatch):
    monkeypatch.delenv("SKLMACRO_DOCS", raising=False)
    urls = Message()
    monkeypatch.setattr(metadata, "metadata", lambda name: urls)
    assert link(simulators.Ising) == ""
    assert shown(simulators.Ising()) == []
    urls["Project-URL"] = "Source, https://example.org/source"
    assert link(simulators.Ising) == ""
    urls["Project-URL"] = "Documentation, https://example.org/pages/"
    page = "https://example.org/pages/api/sklmacro.simulators.Ising.html"
    assert shown(simulators.Ising()) == [page]
    monkeypatch.setenv("SKLMACRO_DOCS", "")
    assert link(simulators.Ising) == ""


def test_a_package_that_is_not_installed_has_no_address(monkeypatch):
    monkeypatch.delenv("SKLMACRO_DOCS", raising=False)

    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "metadata", missing)
    assert link(simulators.Ising) == ""
