"""The "?" in the HTML representation of an estimator: a link to its page of the API reference.

The address of the documentation is that of the environment variable SKLMACRO_DOCS, or the URL
"Documentation" in the metadata of the installed package. Where there is neither, there is no link.
"""

import os
import sys
from contextlib import suppress
from importlib import metadata
from itertools import accumulate


def address() -> str:
    """Return the address of the documentation, without a slash at its end; "" if there is none."""
    if "SKLMACRO_DOCS" in os.environ:
        return os.environ["SKLMACRO_DOCS"].rstrip("/")
    with suppress(metadata.PackageNotFoundError):  # of a package that is run from its folder
        for entry in metadata.metadata("sklmacro").get_all("Project-URL", []):
            label, _, url = entry.partition(",")
            if label.lower() == "documentation":
                return url.strip().rstrip("/")
    return ""


def public_name(cls: type) -> str:
    """Return the name that the API reference has for a class; "" for one that is not exported."""
    for path in accumulate(cls.__module__.split("."), "{}.{}".format):
        if cls.__name__ in getattr(sys.modules.get(path), "__all__", ()):
            return f"{path}.{cls.__name__}"
    return ""


class DocLinkMixin:
    """Link to the API reference, for scikit-learn; stands before `BaseEstimator`."""

    _doc_link_module = "sklmacro"  # not for subclasses that are defined elsewhere
    _doc_link_template = "{url}"

    def _doc_link_url_param_generator(self) -> dict[str, str]:
        place, name = address(), public_name(type(self))
        return {"url": f"{place}/api/{name}.html" if place and name else ""}
