"""What is handed in over HTTP, the same for every peer that FastAPI stands before."""

from pydantic import BaseModel


class One(BaseModel):
    pixels: list[int]


class Many(BaseModel):
    jobs: list[list[int]]


class Ids(BaseModel):
    ids: list[str]


class Accepted(BaseModel):
    """The id of each task, and of how many jobs it is."""

    accepted: list[tuple[str, int]]
