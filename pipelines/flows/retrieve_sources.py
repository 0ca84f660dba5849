"""The passages that an answer may rest on."""

from dataclasses import dataclass, replace

from pipelines.domain.answer import ChatRequest, Completion, Source
from pipelines.domain.model import Degradation, ModelInfo
from pipelines.domain.passage import SearchRequest
from pipelines.flows.chat_ports import ChatOptions, ChatPorts
from pipelines.flows.compose_result import describe_model
from pipelines.flows.search_passages import check_search, search_passages
from pipelines.flows.standalone_question import standalone_question
from pipelines.steps.judge_evidence import is_evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrieval:
    """What was looked up and found."""

    question: str
    """Stands alone."""
    sources: tuple[Source, ...]
    """Only those that have to do with the question, best first."""
    rewriting: Completion | None
    degraded: tuple[Degradation, ...]
    versions: dict[str, object]


async def retrieve_sources(ports: ChatPorts, tenant: str, request: ChatRequest, options: ChatOptions) -> Retrieval:
    """Make the question stand alone, search, rerank, and keep what is evidence.

    Raises InvalidRequest, NotFound, EmbedderMismatch, PassageStoreUnavailable, ModelUnavailable.
    """
    search = search_request(ports, request)
    check_search(search)
    question, rewriting, degraded = await standalone_question(ports.language_model, request, options)
    result = await search_passages(
        ports.embedder, ports.passages, tenant, replace(search, query=question), reranker=ports.reranker
    )
    embedder = await ports.embedder.info()
    similar = float(str(embedder.details.get("similar", options.similar)))
    evidence = [hit for hit in result.hits if is_evidence(question, hit, similar=similar, relevant=options.relevant)]
    return Retrieval(
        question=question,
        sources=tuple(Source(n=n, hit=hit) for n, hit in enumerate(evidence, start=1)),
        rewriting=rewriting,
        degraded=degraded + result.degraded,
        versions=await _versions(ports, embedder, reranked=search.rerank and not result.degraded),
    )


def search_request(ports: ChatPorts, request: ChatRequest) -> SearchRequest:
    """Return what is looked up for a question, taken as it stands."""
    rerank = ports.reranker is not None if request.rerank is None else request.rerank
    return SearchRequest(
        query=request.messages[-1].content,
        collections=request.collections,
        mode=request.mode,
        top_k=request.top_k,
        filters=request.filters,
        rerank=rerank,
        neighbours=True,
    )


async def _versions(ports: ChatPorts, embedder: ModelInfo, *, reranked: bool) -> dict[str, object]:
    versions: dict[str, object] = {"embedder": describe_model(embedder)}
    if reranked and ports.reranker is not None:
        versions["reranker"] = describe_model(await ports.reranker.info())
    return versions
