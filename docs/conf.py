"""Sphinx configuration: `python -m sphinx -W --keep-going -b html docs docs/_build/html`.

Nothing is fetched while the pages are built, nor while they are read: MathJax is copied into them.
"""

import re
from importlib.metadata import version as installed_version

from sphinx.ext import autosummary

project = "sklmacro"
author = "The sklmacro developers"
copyright = "The sklmacro developers"
release = version = installed_version("sklmacro")

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx-mathjax-offline",
    "sphinx.ext.viewcode",
    "numpydoc",
    "myst_parser",
    "sphinx_design",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "examples"]
templates_path = ["_templates"]
html_static_path = ["_static"]

# Markdown
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence"]
myst_heading_anchors = 3

# API reference
default_role = "py:obj"
autosummary_generate = True
autosummary.WELL_KNOWN_ABBREVIATIONS += (
    "Eq.",
    "Eqs.",
    "Sec.",
    "Fig.",
    "Alg.",
)  # no ends of sentences
autodoc_typehints = "none"  # the docstrings say it, with shapes and units
autosummary_filename_map = {  # names that differ from a class only in case
    "sklmacro.measures.fidelity.fidelity": "sklmacro.measures.fidelity.function",
    "sklmacro.measures.structure.structure": "sklmacro.measures.structure.function",
}
numpydoc_show_class_members = False
suppress_warnings = ["ref.python"]  # attributes of one name in several classes
add_module_names = False

# Gallery
sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "gallery",
    "filename_pattern": "/plot_",
    "within_subsection_order": "ExampleTitleSortKey",
    "show_memory": False,
    "download_all_examples": False,
    "remove_config_comments": True,
    "write_computation_times": False,  # a page that loads from the net
    "abort_on_example_error": True,
    "capture_repr": (),  # of figures' parts; what is printed is shown
    "matplotlib_animations": False,
    "image_scrapers": ("matplotlib",),
    "backreferences_dir": "gallery/backreferences",
    "doc_module": ("sklmacro",),
    "reference_url": {"sklmacro": None},
}

# Look
html_theme = "pydata_sphinx_theme"
html_title = "sklmacro"
html_show_sourcelink = False
html_css_files = ["sklmacro.css"]
html_theme_options = {
    "logo": {"text": "sklmacro"},
    "header_links_before_dropdown": 8,
    "navigation_with_keys": False,
    "show_prev_next": True,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
ALONE = ("index", "start", "when", "method", "results", "speed", "contributing")
html_sidebars = {page: [] for page in ALONE}  # without pages below them
html_context = {"default_mode": "light"}


def escape_shapes(app, what, name, obj, options, lines):
    """Let shapes such as (n_samples, *cells) and bars such as <|M|> stand for themselves."""
    for k, line in enumerate(lines):
        if what == "module":  # with a table, whose columns have to stay where they are
            lines[k] = re.sub(r"\*([\w ]+\)) ", r"\\*\1", line)
        elif not line.lstrip().startswith((">>>", "...", "**", ".. ")):
            parts = re.split(r"(`+[^`]*`+)", line)  # code at odd places
            parts[::2] = [re.sub(r"(?<!\\)([*|]|(?<=\w)_(?=\)))", r"\\\1", p) for p in parts[::2]]
            lines[k] = "".join(parts)


def skip_requests(app, what, name, obj, skip, options):
    """Leave out scikit-learn's own methods, which its documentation explains."""
    requests = re.fullmatch(r"(get|set)_(params|metadata_routing|\w+_request)", name)
    theirs = str(getattr(obj, "__module__", "")).startswith("sklearn.")
    return True if requests or theirs else None


def setup(app):
    """Connect the two functions above, the first ahead of numpydoc."""
    app.connect("autodoc-process-docstring", escape_shapes, priority=100)
    app.connect("autodoc-skip-member", skip_requests)
