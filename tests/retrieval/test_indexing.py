from pipelines.domain.transcript import Transcript
from pipelines.fakes.models import FakeEmbedder
from pipelines.fakes.passages import InMemoryPassageStore
from pipelines.retrieval.indexing import index_transcript
from pipelines.retrieval.passages import ChunkingOptions
from tests.speakers.transcripts import segment, transcript

SMALL = ChunkingOptions(target_words=5, max_words=8, min_words=3)


def lecture(sentences: int) -> Transcript:
    return transcript(
        *(segment(f"this is sentence number {n}.", n * 5, n * 5 + 4, speaker="SPEAKER_00") for n in range(sentences))
    )


async def index(store: InMemoryPassageStore, spoken: Transcript, job: str = "job-1") -> int:
    return await index_transcript(
        FakeEmbedder(), store, "a", "notes", job, "lecture.m4a", spoken, {"term": "autumn"}, SMALL
    )


async def test_every_passage_is_written_with_the_jobs_facts() -> None:
    store = InMemoryPassageStore()
    assert await index(store, lecture(100)) == 100
    passages = await store.passages("a", "notes", "job-1")
    assert [passage.text for passage in passages] == [segment.text for segment in lecture(100).segments]
    assert {(passage.recording, passage.metadata["term"]) for passage in passages} == {("lecture.m4a", "autumn")}


async def test_indexing_twice_changes_nothing() -> None:
    store = InMemoryPassageStore()
    await index(store, lecture(3))
    before = await store.passages("a", "notes", "job-1")
    await index(store, lecture(3))
    assert await store.passages("a", "notes", "job-1") == before


async def test_a_shorter_cut_leaves_nothing_of_the_longer_one() -> None:
    store = InMemoryPassageStore()
    await index(store, lecture(9))
    await index(store, lecture(9), job="job-2")
    assert await index(store, lecture(2)) == 2
    assert len(await store.passages("a", "notes", "job-1")) == 2
    assert len(await store.passages("a", "notes", "job-2")) == 9


async def test_silence_makes_an_empty_collection() -> None:
    store = InMemoryPassageStore()
    assert await index(store, lecture(0)) == 0
    assert [(info.name, info.passages) for info in await store.collections("a")] == [("notes", 0)]
