"""The part of MR3xx about the code that completes a Python model's config."""

from __future__ import annotations

from collections.abc import Iterator

from ai102.lint.finding import Code, Finding
from ai102.lint.model import Model, Repository

CODES: tuple[Code, ...] = (
    Code(
        "MR311",
        "error",
        "auto_complete_config that fails",
        "The server runs auto_complete_config of model.py at each load and refuses the model where it raises, or "
        "returns anything but the config that it was given. add_input and add_output take name, data_type and dims, "
        "add_input optional too, and may not change what config.pbtxt has; set_max_batch_size may not lower it. The "
        "code is read and not run: what only a run would show is not judged.",
    ),
    Code(
        "MR312",
        "warning",
        "completion that the server drops",
        "The server cannot read what auto_complete_config wrote, such as data_type 'FP32' in place of 'TYPE_FP32'. It "
        "then drops everything that the code added, without a word, and loads the model with the config as it was "
        "(seen on 2.51): requests fail for an unexpected input.",
    ),
)


def check(model: Model, repository: Repository) -> Iterator[Finding]:
    problem = model.code_problem
    if problem is not None:
        yield model.finding_in_code(problem.code, problem.line, problem.message, problem.advice)
