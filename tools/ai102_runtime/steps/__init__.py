"""The steps of a pipeline that are no networks, one module each, with a class `Step`.

`ai102_runtime.models.one_step` serves a step as a model, `ai102_runtime.models.one_process` a whole pipeline with its
network. Neither step nor transform needs Triton.
"""
