"""`ai102 jobs submit`: every file of a folder handed in as a job, and their results in one file."""
