"""`ai102 top`: what pipelines, models and replicas do now, and what is wrong, in a terminal."""
