"""Images are decoded as they are stored: the orientation that a camera wrote beside them is not looked at."""

from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from ai102_runtime.models.one_process import TritonPythonModel as Served
from ai102_runtime.steps.step import Step


class TritonPythonModel(Served):
    def initialize(self, args: dict[str, str]) -> None:
        super().initialize(args)
        self.before[0].step = Stripped(self.before[0].step)


class Stripped:
    def __init__(self, step: Step) -> None:
        self._step = step

    def run(self, arrays: Any) -> Any:
        stripped = [without_exif(item) for item in arrays["image"].reshape(-1)]
        return self._step.run({"image": np.array(stripped, object).reshape(arrays["image"].shape)})


def without_exif(item: bytes) -> bytes:
    try:
        image = Image.open(BytesIO(item))
        if not image.getexif():
            return item
        out = BytesIO()
        image.save(out, "PNG", exif=Image.Exif())
    except (OSError, ValueError):
        return item
    return out.getvalue()
