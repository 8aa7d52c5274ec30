"""README is short, its translation says the same, no link is dead, and every page can be reached from README."""

import re
import tomllib
from collections import Counter
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import typer

ROOT = Path(__file__).parent.parent
READMES = [ROOT / "README.md", ROOT / "README.zh.md"]
PAGES = sorted((ROOT / "docs").glob("**/*.md"))
DOCUMENTS = [*READMES, *PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", ROOT / "loadtest" / "README.md"]
METAPHORS = r"\b(doors?|roads?|rooms?|regrets?|guilty)\b"


def name_of(document: Path) -> str:
    return str(document.relative_to(ROOT))


def links(document: Path) -> list[str]:
    """Targets of links and pictures inside the repository."""
    targets = re.findall(r"\]\(([^)\s]+)\)", without_code(document.read_text(encoding="utf-8")))
    return [target for target in targets if not re.match(r"https?:|mailto:", target)]


def without_code(text: str) -> str:
    return re.sub(r"```.*?```", "", text, flags=re.DOTALL)


def headings(document: Path) -> list[str]:
    return re.findall(r"^#{1,6} .+$", without_code(document.read_text(encoding="utf-8")), re.MULTILINE)


def anchor(heading: str) -> str:
    """As GitHub and GitLab form it: lower case, no punctuation, a hyphen for each space."""
    text = heading.lstrip("#").strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def figures(document: Path) -> Counter[str]:
    return Counter(re.findall(r"\d[\d.,]*\d|\d", document.read_text(encoding="utf-8")))


@pytest.mark.parametrize("readme", READMES, ids=name_of)
def test_readme_has_at_most_150_lines(readme: Path) -> None:
    assert len(readme.read_text(encoding="utf-8").splitlines()) <= 150


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_link_leads_to_a_file_and_a_heading_that_exist(document: Path) -> None:
    dead = []
    for link in links(document):
        path, _, fragment = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        if not target.exists() or (fragment and fragment not in {anchor(h) for h in headings(target)}):
            dead.append(link)
    assert dead == []


@pytest.mark.parametrize("readme", READMES, ids=name_of)
def test_every_page_of_docs_is_linked_from_the_readme(readme: Path) -> None:
    reached = {(readme.parent / link.partition("#")[0]).resolve() for link in links(readme)}
    assert [name_of(page) for page in PAGES if page not in reached] == []


def test_pages_of_docs_were_not_lost() -> None:
    topics = {"own-network", "int8", "linter", "client", "gateway", "load-and-tuning", "results", "triton-from-pip"}
    assert {page.stem for page in PAGES} >= topics


def test_both_readmes_have_the_same_headings() -> None:
    levels = [[heading.partition(" ")[0] for heading in headings(readme)] for readme in READMES]
    assert levels[0] == levels[1]


def test_both_readmes_have_the_same_figures() -> None:
    english, chinese = (figures(readme) for readme in READMES)
    assert (english - chinese, chinese - english) == (Counter(), Counter())


def test_both_readmes_have_the_same_links_and_commands() -> None:
    english, chinese = (readme.read_text(encoding="utf-8") for readme in READMES)
    assert Counter(links(READMES[0])) - Counter(["README.zh.md"]) == Counter(links(READMES[1])) - Counter(["README.md"])
    commands = [re.findall(r"(?:make|ai102|docker run|apt-get install)[^`\n#]*", text) for text in (english, chinese)]
    assert Counter(command.strip() for command in commands[0]) == Counter(command.strip() for command in commands[1])


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_documents_use_the_plain_words(document: Path) -> None:
    assert re.findall(METAPHORS, document.read_text(encoding="utf-8"), re.IGNORECASE) == []


def test_every_make_target_in_the_readme_exists() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z0-9-]+)", READMES[0].read_text(encoding="utf-8"), re.MULTILINE))
    assert named - targets == set()


@pytest.fixture(scope="module")
def ai102() -> Any:
    """The command `ai102`, as the console script of pyproject.toml starts it."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    return typer.main.get_command(import_module(scripts["ai102"].partition(":")[0]).app)


def commands(document: Path) -> list[str]:
    """What follows `ai102` in code, up to a comment, a pipe or the end."""
    text = document.read_text(encoding="utf-8")
    code = "\n".join(re.findall(r"```\w*\n(.*?)```", text, re.DOTALL) + re.findall(r"`([^`\n]+)`", without_code(text)))
    return [line.strip() for line in re.findall(r"(?:^|[ /(])ai102 ([a-z-][^#&)\n]*)", code, re.MULTILINE)]


def problem_with(ai102: Any, line: str) -> str | None:
    command, words = ai102, line.split(" | ")[0].split()
    while words and hasattr(command, "commands") and not words[0].startswith("-"):
        names = words.pop(0).split("|")
        if unknown := [name for name in names if name not in command.commands]:
            return f"ai102 {line}: no command {unknown[0]}"
        command = command.commands[names[0]]
    options = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    unknown = [word for word in words if word.startswith("--") and word.partition("=")[0] not in options]
    return f"ai102 {line}: no option {unknown[0]}" if unknown else None


@pytest.mark.parametrize("document", [d for d in DOCUMENTS if d.name != "CHANGELOG.md"], ids=name_of)
def test_every_command_of_a_document_exists_with_its_options(document: Path, ai102: Any) -> None:
    assert [problem for line in commands(document) if (problem := problem_with(ai102, line))] == []
