"""/v1/jobs: work handed in now and fetched later."""
