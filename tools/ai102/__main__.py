"""`python -m ai102` is the command `ai102`."""

from ai102.cli.main import main

main()
