"""How Sphinx builds this documentation: ``sphinx-build -W docs docs/_build/html``."""

from importlib.metadata import version as installed_version

project = "simlearn"
author = "The simlearn authors"
copyright = author
release = version = installed_version("simlearn")

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.doctest",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]
exclude_patterns = ["_build"]
default_role = "code"  # docstrings write `name` for code

html_theme = "furo"
html_title = f"simlearn {release}"
html_static_path = ["_static"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False

# The examples in docstrings are run by pytest, those of these pages by `sphinx-build -b doctest`.
doctest_test_doctest_blocks = ""
# Classes of a page are those of a script; without a name their module would be Python's own.
doctest_global_setup = '__name__ = "__main__"'

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
