"""Do only true citations survive? A scripted model cites rightly and wrongly, and both are counted afterwards.

    python -m bench.bench_citations [--talks 24]

Precision: of the citations that were shown, those that play the answering moment. Recall: of those that the script
wrote rightly, those that were shown. The script paraphrases case and punctuation of what it quotes, as models do, and
puts one false citation beside each true one: altered words, a passage that was never retrieved, or another passage's
words.
"""

import argparse
import asyncio
import random
import re
from collections.abc import Mapping, Sequence
from statistics import fmean

from bench.bench_retrieval import RememberingEmbedder
from bench.retrieval_corpus import Question, Talk, make_talks
from bench.temporary_store import temporary_store
from pipelines.domain.answer import Answer, ChatRequest, Message
from pipelines.fakes.language import ScriptedLanguageModel
from pipelines.retrieval.answers import answer_question, collect_answer
from pipelines.retrieval.engines.minilm import MiniLmEmbedder
from pipelines.retrieval.indexing import index_transcript
from pipelines.retrieval.ports import ChatPorts

_BLOCK = re.compile(r"^\[(\d+)\] [^\n]*\n([^\n]+)$", re.MULTILINE)


class CitingModel:
    """Answers from the prompt alone; knows which words answer which question."""

    def __init__(self, answers: Mapping[str, str], *, seed: int = 3) -> None:
        self._answers = answers
        self._draw = random.Random(seed)
        self.right = 0
        self.wrong = 0

    def __call__(self, messages: Sequence[Message], schema: object) -> str:
        """Return an answer with a true citation, where the passage is there, and a false one."""
        said = self._answers[messages[-1].content]
        blocks = [(int(n), text) for n, text in _BLOCK.findall(messages[0].content)]
        number = next((n for n, text in blocks if said in text), None)
        written = "It was said."
        if number is not None:
            self.right += 1
            written += f' So it is [{number}: "{said.lower().rstrip(".")}"].'
        self.wrong += 1
        return f"{written} And more {self._false(said, [n for n, _ in blocks], number)}."

    def _false(self, said: str, numbers: Sequence[int], right: int | None) -> str:
        words = said.rstrip(".").split()
        altered = words.copy()
        altered[self._draw.randrange(len(words))] = "zebra"
        elsewhere = self._draw.choice([n for n in numbers if n != right] or [99])
        others = " ".join(words[1:])
        altered_words = f'[{right or 1}: "{" ".join(altered)}"]'
        return self._draw.choice([altered_words, f'[77: "{said}"]', f'[{elsewhere}: "zebras {others}"]'])


def said_at(question: Question, talks: Sequence[Talk]) -> str:
    """Return the sentence that answers."""
    talk = next(talk for talk in talks if talk.job_id == question.job_id)
    return next(segment.text for segment in talk.transcript.segments if segment.start_s == question.start_s)


def counted(question: Question, answer: Answer) -> list[bool]:
    """Say for each shown citation whether it plays the answering moment."""
    return [
        citation.job_id == question.job_id and citation.start_s < question.end_s and citation.end_s > question.start_s
        for citation in answer.citations
    ]


async def run(count: int) -> None:
    """Print precision, recall, and how exactly citations begin."""
    talks, questions = make_talks(count)
    answered = [question for question in questions if question.job_id]
    answers = {question.text: said_at(question, talks) for question in answered}
    engine = await MiniLmEmbedder.load()
    try:
        async with temporary_store() as store:
            embedder, script = RememberingEmbedder(engine), CitingModel(answers)
            for talk in talks:
                await index_transcript(
                    embedder, store, "bench", "talks", talk.job_id, f"{talk.job_id}.wav", talk.transcript
                )
            ports = ChatPorts(embedder=embedder, passages=store, language_model=ScriptedLanguageModel(script))
            shown, removed, errors = list[bool](), 0, list[float]()
            for question in answered:
                asked = ChatRequest(messages=(Message(role="user", content=question.text),), collections=("talks",))
                answer = await collect_answer(answer_question(ports, "bench", asked))
                right = counted(question, answer)
                shown += right
                removed += answer.removed_citations
                starts = [cited.start_s for cited, good in zip(answer.citations, right, strict=True) if good]
                errors += [abs(start - question.start_s) for start in starts]
            print(f"{len(answered)} questions, {script.right} true and {script.wrong} false citations written")
            print(f"shown {len(shown)}, removed {removed}")
            print(f"precision {fmean(shown):.3f}, recall {sum(shown) / script.right:.3f}")
            print(f"mean distance of a citation's start from the answering sentence {fmean(errors):.2f} s")
    finally:
        await engine.close()


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--talks", type=int, default=24)
    asyncio.run(run(parser.parse_args().talks))


if __name__ == "__main__":
    main()
