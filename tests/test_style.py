"""One dialect of docstrings, in both packages: what ruff does not hold."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted([*ROOT.glob("pamdp_agents/**/*.py"), *ROOT.glob("envs/**/*.py")])
LONGEST = 400  # lines of a file: more do not fit in one head


def docstrings(file):
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (text := ast.get_docstring(node)):
            yield getattr(node, "name", "the module"), text


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_docstrings_are_of_one_dialect(file):
    for name, text in docstrings(file):
        assert "``" not in text, f"{name}: single backticks, as Markdown has them"
        assert not re.search(r":[a-z]+:`", text), f"{name}: no roles, for there is no Sphinx"
        assert not re.match(r"(Return|Make|Write|Give|Get|Set|Add|Read|Take|Check) ", text), (
            f"{name}: Returns, Makes, …"
        )
        assert not re.search(r"(Error|Exception): If ", text), f"{name}: what is raised says what is wrong, without If"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_a_file_is_not_too_long(file):
    assert len(file.read_text(encoding="utf-8").splitlines()) <= LONGEST


def test_the_root_holds_what_users_import_and_folders_the_rest():
    assert len([path for path in (ROOT / "pamdp_agents").iterdir() if path.is_file()]) <= 10
