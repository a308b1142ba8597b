"""Python imports this as each process of a test begins: tests/conftest.py names its folder in
PYTHONPATH.
"""

from tests.support.plain_figures import install

install()
