"""Every error the pipelines raise, split by whose fault it is and by whether trying again can help.

RayScribeError
├── CallerError                    the request is wrong: repeating it unchanged cannot help
│   ├── InvalidRequest             a field has the wrong type, form or value
│   │   ├── NotAvailable           the field is understood, but this deployment does not offer it
│   │   ├── DiarizationTooLong     the recording is longer than unsharded diarization can take
│   │   ├── AddressRefused         an address that a tenant names is private, or is no address of a service
│   │   └── TemplateInvalid        a template (schema or prompt) is broken; it names the template
│   ├── Unauthenticated            no key, or one that nobody holds
│   ├── Forbidden                  the key is good, its scopes do not include this
│   ├── NotFound                   unknown id, or another tenant's: the two cannot be told apart
│   ├── Conflict                   the state of the resource does not allow this
│   │   ├── IdempotencyConflict    the same key was used with another body
│   │   ├── JobEnded               the job has ended: there is nothing left to cancel
│   │   ├── JobNotFailed           only a failed job can be retried
│   │   ├── JobRunning             the job has not ended: what it makes cannot be changed yet
│   │   └── EmbedderMismatch       the collection holds vectors of another embedding model
│   ├── RevisionUnknown            a change does not say which revision it was made from
│   │   └── RevisionChanged        somebody else has changed it since
│   ├── SourceUnreachable          what is at an address that a tenant names cannot be fetched
│   ├── TooLarge                   more bytes or seconds than the limit
│   └── UnsupportedMedia           not audio, or audio that no decoder understands
│       ├── AudioDamaged           the container ends or breaks in the middle
│       └── AudioTooShort          less audio than a result can be made from
├── Overloaded                     a limit is reached for now: the same request may succeed later
│   ├── QueueFull                  too many jobs are waiting
│   └── TooManyUploads             too many uploads are under way
├── DependencyError                something behind us is not answering as it should: a retry can help
│   ├── ModelUnavailable           no model of the chain is loaded, or its replica died in the call
│   │   └── NoLanguageModel        none is configured: no retry helps
│   ├── PassageStoreUnavailable    the vector store is down, slow or read-only
│   │   └── CollectionDamaged      one collection's files cannot be read: the others can, and no retry helps
│   ├── ArtifactStoreUnavailable   the artifact store is down, full or read-only
│   ├── JobStoreUnavailable        the job database is down or locked
│   └── DeadlineExceeded           the call took longer than its policy allows
├── ModelError                     the model answered, but not usably
│   ├── ModelOutOfMemory           the batch did not fit: a smaller one may
│   ├── GenerationTruncated        the language model stopped at its token limit
│   └── GenerationInvalid          the language model's output does not fit the schema
└── ArtifactNotFound               a stage's output is not there (yet): a bug or an erased job when it escapes

Every constructor argument goes positionally into ``Exception.__init__``: an exception that cannot be pickled crosses
Ray as something else and would reach a client as a 500. Each class carries a stable ``code``.
"""

from typing import ClassVar


class RayScribeError(Exception):
    """Root of the tree. ``message`` may be shown to a client: it holds no path, secret or spoken content."""

    code: ClassVar[str] = "internal_error"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, param: str | None = None, retry_after_s: float | None = None) -> None:
        """Name what is wrong (``message``), the request field it concerns, and when a retry makes sense."""
        super().__init__(message, param, retry_after_s)
        self.message = message
        self.param = param
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return self.message


class CallerError(RayScribeError):
    """The request is wrong; repeating it unchanged cannot help."""

    code = "invalid_request"


class InvalidRequest(CallerError):
    """A field has the wrong type, form or value."""

    code = "invalid_field"


class NotAvailable(InvalidRequest):
    """The field or feature is understood, but this deployment does not offer it."""

    code = "not_available"


class DiarizationTooLong(InvalidRequest):
    """The recording is longer than unsharded diarization can take."""

    code = "diarization_too_long"


class AddressRefused(InvalidRequest):
    """An address that a tenant names is private, or is no address of a service."""

    code = "address_refused"


class SourceUnreachable(CallerError):
    """What is at an address that a tenant names cannot be fetched: it is not there, or does not answer in time."""

    code = "source_unreachable"


class TemplateInvalid(InvalidRequest):
    """A template is broken; the message names the template and what is wrong with it."""

    code = "template_invalid"


class Unauthenticated(CallerError):
    """No key was given, or one that nobody holds."""

    code = "invalid_api_key"


class Forbidden(CallerError):
    """The key is good, but its scopes do not include this."""

    code = "insufficient_scope"


class NotFound(CallerError):
    """Unknown id, or another tenant's: the two cannot be told apart."""

    code = "not_found"


class Conflict(CallerError):
    """The state of the resource does not allow this."""

    code = "conflict"


class IdempotencyConflict(Conflict):
    """The same idempotency key was used with another body."""

    code = "idempotency_conflict"


class JobEnded(Conflict):
    """The job has ended: there is nothing left to cancel."""

    code = "job_ended"


class JobNotFailed(Conflict):
    """Only a failed job can be retried."""

    code = "job_not_failed"


class JobRunning(Conflict):
    """The job has not ended: what it makes cannot be changed yet."""

    code = "job_running"


class EmbedderMismatch(Conflict):
    """The collection holds vectors of another embedding model."""

    code = "embedder_mismatch"


class RevisionUnknown(CallerError):
    """A change does not say which revision it was made from."""

    code = "revision_required"


class RevisionChanged(RevisionUnknown):
    """Somebody else has changed it since: read it again, and make the change anew."""

    code = "revision_changed"


class TooLarge(CallerError):
    """More bytes or seconds than the limit."""

    code = "too_large"


class UnsupportedMedia(CallerError):
    """Not audio, or audio that no decoder understands."""

    code = "unsupported_media"


class AudioDamaged(UnsupportedMedia):
    """The container ends or breaks in the middle."""

    code = "audio_damaged"


class AudioTooShort(UnsupportedMedia):
    """Less audio than a result can be made from."""

    code = "audio_too_short"


class Overloaded(RayScribeError):
    """A limit is reached for now: the same request may succeed later."""

    code = "overloaded"
    retryable = True


class QueueFull(Overloaded):
    """Too many jobs are waiting."""

    code = "queue_full"


class TooManyUploads(Overloaded):
    """Too many uploads are under way."""

    code = "too_many_uploads"


class DependencyError(RayScribeError):
    """Something behind us is not answering as it should; a retry can help."""

    code = "dependency_unavailable"
    retryable = True


class ModelUnavailable(DependencyError):
    """No model of the chain is loaded, or its replica died in the call."""

    code = "model_unavailable"


class NoLanguageModel(ModelUnavailable):
    """None is configured: no retry helps."""

    code = "no_language_model"
    retryable = False


class PassageStoreUnavailable(DependencyError):
    """The vector store is down, slow or read-only."""

    code = "passage_store_unavailable"


class CollectionDamaged(PassageStoreUnavailable):
    """One collection's files cannot be read: the others can, and no retry helps."""

    code = "collection_damaged"
    retryable = False


class ArtifactStoreUnavailable(DependencyError):
    """The artifact store is down, full or read-only."""

    code = "artifact_store_unavailable"


class JobStoreUnavailable(DependencyError):
    """The job database is down or locked."""

    code = "job_store_unavailable"


class DeadlineExceeded(DependencyError):
    """The call took longer than its policy allows."""

    code = "deadline_exceeded"


class ModelError(RayScribeError):
    """The model answered, but not usably."""

    code = "model_error"


class ModelOutOfMemory(ModelError):
    """The batch did not fit the device; a smaller one may."""

    code = "model_out_of_memory"


class GenerationTruncated(ModelError):
    """The language model stopped at its token limit."""

    code = "generation_truncated"
    retryable = True


class GenerationInvalid(ModelError):
    """The language model's output does not fit the schema."""

    code = "generation_invalid"
    retryable = True


class ArtifactNotFound(RayScribeError):
    """A stage's output is not there (yet)."""

    code = "artifact_not_found"
