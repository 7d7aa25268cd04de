"""Every page: its links lead somewhere, what it names exists, and its form is that of the house."""
import os
import re
from pathlib import Path

import pytest

from tests.support.process import REPOSITORY

ROOT = Path(REPOSITORY)
PAGES = ["README.md", "CHANGELOG.md",
         *sorted(f"docs/{page.name}" for page in ROOT.glob("docs/*.md"))]
README_LINES_MAX = 130
# Examples of names, in docs/contributing.md and the sample of an endpoint.
MADE_UP = re.compile(r"NNNN_|NAME|test_HANDLER|spending")


def read(page):
    return (ROOT / page).read_text(encoding="utf-8")


def prose(page):
    """The page without its blocks of code."""
    return re.sub(r"^( *)```.*?^\1```$", "", read(page), flags=re.S | re.M)


def anchors(page):
    """The anchors GitHub makes of the page's headings."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)]+)\)", prose(page)):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / page).parent.joinpath(path).resolve() if path else ROOT / page
        assert file.exists(), f"{page}: {target}"
        if anchor:
            assert anchor in anchors(file.relative_to(ROOT)), f"{page}: {target}"


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_names_is_there(page):
    text = read(page)
    for script in set(re.findall(r"(?<![\w/.-])scripts/[a-z][\w-]*(?:\.sh)?", text)):
        needed = os.R_OK if script.endswith(".sh") else os.X_OK
        assert os.access(ROOT / script, needed), f"{page}: {script}"
    folders = "common|handlers|workers|tools|supervisor|sql|nginx|systemd|docs|tests"
    for path in set(re.findall(rf"`((?:{folders})/[\w./@-]*)`", text)):
        assert MADE_UP.search(path) or (ROOT / path).exists(), f"{page}: {path}"
    for header in set(re.findall(r"`(\w+/\w+\.[ch])`", text)):
        assert (ROOT / "common" / header).exists() or (ROOT / header).exists() or \
            MADE_UP.search(header), f"{page}: {header}"


@pytest.mark.parametrize("page", [page for page in PAGES if page.startswith("docs/")])
def test_a_reader_of_the_readme_finds_every_page(page):
    assert f"]({page})" in read("README.md"), page


def test_the_readme_is_short():
    assert len(read("README.md").splitlines()) <= README_LINES_MAX


def test_the_picture_names_every_room():
    picture = read("README.md").split("## Where things are")[1].split("```")[1]
    for room in (ROOT / "common").iterdir():
        assert room.is_file() or f" {room.name}/" in picture, room.name


def test_contributing_names_every_folder_of_tests():
    text = read("docs/contributing.md")
    support = {"support", "clerk", "__pycache__"}  # no tests, or only of the support itself
    for folder in (ROOT / "tests").iterdir():
        assert (folder.is_file() or folder.name in support or
                f"`tests/{folder.name}/`" in text), folder


def test_contributing_has_the_numbers_of_check_style():
    script = read("scripts/check-style")
    limit = dict(re.findall(r"^(\w+_MAX) = (\d+)$", script, re.M))
    text = " ".join(read("docs/contributing.md").split())
    assert (f"Lines have at most {limit['COLUMNS_MAX']} columns, functions "
            f"{limit['FUNCTION_LINES_MAX']} lines, files {limit['FILE_LINES_MAX']} lines, "
            f"functions {limit['PARAMETERS_MAX']} parameters (at most "
            f"{limit['MANY_PARAMETERS_PERCENT_MAX']} functions of 100 have more") in text
