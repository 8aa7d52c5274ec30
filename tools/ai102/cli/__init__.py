"""The command `ai102`: one module per group of subcommands."""
