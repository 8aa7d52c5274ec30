"""Log files, followed: every line is masked, read into a document and put into a spool."""
