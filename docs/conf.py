"""The docs site: `make docs` builds it with Sphinx, strictly (a warning ends the build), and fetches nothing.

The repository itself is the source folder, so that links between its Markdown files are links of the site too.
"""

from __future__ import annotations

import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent

project = "PD-L1ES"
author = "the PD-L1ES project"
copyright = "Apache-2.0"
_version = re.search(r'__version__ = "([^"]+)"', (REPOSITORY / "pdl1es" / "__init__.py").read_text(encoding="utf-8"))
release = _version[1] if _version else ""

extensions = ["myst_parser", "autoapi.extension", "sphinx.ext.napoleon"]
root_doc = "docs/index"
include_patterns = [
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "docs/**",
    "models/*/MODEL_CARD.md",
    "benchmarks/results/*.md",
]
exclude_patterns = [".*", "build", "out", "runs", "cohort"]

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4

# A word of a docstring that names an attribute of two classes
suppress_warnings = ["ref.python"]

autoapi_dirs = [str(REPOSITORY / "pdl1es")]
autoapi_root = "docs/reference"
autoapi_add_toctree_entry = False
autoapi_python_class_content = "class"
autoapi_member_order = "bysource"
autoapi_options = ["members", "show-module-summary"]
autoapi_keep_files = False
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True

html_theme = "furo"
html_title = f"PD-L1ES {release}"
html_copy_source = False
html_extra_path = ["site_root"]  # the site's first page leads to docs/index.html
html_show_sphinx = False
