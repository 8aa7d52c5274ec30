"""The command `ai102`: one module a verb."""
