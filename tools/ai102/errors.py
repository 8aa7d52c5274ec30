"""The one exception that means: the user can put this right, and the message says how."""


class UserError(Exception):
    """A mistake or a missing thing outside this program, told in one line.

    The command line prints the message alone and exits with `exit_status`; anything else that
    escapes is a defect of ours and shows its traceback.
    """

    exit_status = 2


class BudgetError(UserError):
    """A quantized model lost more accuracy than models.toml allows."""

    exit_status = 3
