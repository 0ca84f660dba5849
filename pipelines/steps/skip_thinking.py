"""Takes the thoughts out that an endpoint left in front of an answer: neither shown, nor cited, nor looked up."""

from pipelines.steps.parse_generation import THINKING

_OPENING, _CLOSING = "<think>", "</think>"


class ThinkingSkipper:
    """Reads an answer as it comes and leaves out a leading ``<think>…</think>``, of which nothing is ever shown."""

    def __init__(self) -> None:
        self._held: str | None = ""

    def feed(self, text: str) -> str:
        """Take the next piece; return what can be shown, holding back what may be, or still is, thinking."""
        if self._held is None:
            return text
        self._held += text
        if thinking := THINKING.match(self._held):
            return self._begin(self._held[thinking.end() :])
        written = self._held.lstrip()
        if written.startswith(_OPENING):
            # Of thoughts only so much is kept that their end is seen: searching all of them at every piece adds up.
            self._held = _OPENING + written[len(_OPENING) :][1 - len(_CLOSING) :]
            return ""
        return "" if _OPENING.startswith(written) else self._begin(self._held)

    def finish(self) -> str:
        """Return what was held back: nothing more will come. Thinking that never ended is no answer."""
        held, self._held = self._held or "", None
        return "" if held.startswith(_OPENING) else held

    def _begin(self, answer: str) -> str:
        self._held = None
        return answer


def without_thinking(text: str) -> str:
    """Return a whole answer without its leading thoughts; empty where nothing else was written."""
    skipper = ThinkingSkipper()
    return skipper.feed(text) + skipper.finish()
