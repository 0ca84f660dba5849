"""How tokens are drawn, as a request may say it."""

from pydantic import Field

from pipelines.domain.answer import SamplingOptions
from serve_app.api.bodies import RequestBody


class SamplingFields(RequestBody):
    """What is left out is asked of the profile, then of the model's own generation_config.json."""

    temperature: float | None = Field(default=None, ge=0.0, le=2.0, allow_inf_nan=False)
    top_p: float | None = Field(default=None, gt=0.0, le=1.0, allow_inf_nan=False)
    top_k: int | None = Field(default=None, ge=1, le=1_000)
    repetition_penalty: float | None = Field(default=None, gt=0.0, le=10.0, allow_inf_nan=False)
    max_tokens: int | None = Field(default=None, ge=1, le=32_768)
    seed: int | None = Field(default=None, ge=0, le=2**31 - 1)

    def to_sampling(self) -> SamplingOptions:
        """Return the flow's record."""
        return SamplingOptions(**self.model_dump())
