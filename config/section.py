"""`Section`: a frozen set of setting rows. Its fields are the rows; unknown keys are refused."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """One table of the settings file. Each field carries its type, its default and a one-sentence description."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=False, validate_default=True)
