"""One guard for every port: a table says, verb by verb, under which policy it is called."""

import inspect
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias, TypeVar, cast

from pipelines.errors import DependencyError, ModelUnavailable, RayScribeError
from serve_app.remote.calls import call
from serve_app.resilience import Guard, StreamLimits
from serve_app.settings import Policy

PortT = TypeVar("PortT")
_REPLACED_AFTER_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """How one verb of a port is called. What depends on a call is a function of the verb's arguments."""

    dependency: str
    """Its name in health and metrics; verbs with the same one share a breaker."""
    policy: Policy
    unavailable: type[DependencyError] = DependencyError
    """What is raised while the breaker is open, and where the process behind a handle is gone."""
    extra_timeout_s: Callable[..., float] = lambda *_, **__: 0.0
    """Beyond the policy's timeout."""
    sent: Callable[..., tuple[object, ...]] | None = None
    """The arguments as the target takes them; None: as they are."""
    final: tuple[type[RayScribeError], ...] = ()
    """Errors after which the call is not repeated, although a retry could help: how is for the caller to say."""
    limits: Callable[..., StreamLimits] | None = None
    """Of a verb that gives an async generator, which is begun again only before its first item."""


Rules: TypeAlias = Mapping[str, Rule | None]
"""Verb of a port → its rule; None: the call passes through unguarded."""


class _Verbs:
    """Has the verbs of a port as attributes, and nothing else."""

    def __init__(self, verbs: Mapping[str, Callable[..., Any]]) -> None:
        vars(self).update(verbs)


def guarded(port: type[PortT], target: object, guard: Guard, rules: Rules) -> PortT:
    """Return ``target`` as an implementation of the protocol ``port`` under ``rules``.

    Raises TypeError where the rules do not name exactly the port's verbs, or one has a rule of the wrong kind: what
    nobody decided is never called.
    """
    verbs = port_verbs(port)
    if verbs.keys() != rules.keys():
        raise TypeError(f"{port.__name__} and its rules differ in {sorted(verbs.keys() ^ rules.keys())}")
    made = {verb: _under(rules[verb], declared, getattr(target, verb), guard) for verb, declared in verbs.items()}
    return cast(PortT, _Verbs(made))


def over_handle(port: type, handle: Any) -> object:
    """Return what calls, for each verb of ``port``, the method of the same name of a Serve deployment."""
    return _Verbs({verb: partial(call, getattr(handle, verb)) for verb in port_verbs(port)})


def port_verbs(port: type) -> dict[str, Callable[..., Any]]:
    """Return the public methods of a protocol and of those that it extends."""
    members = {name: member for base in reversed(port.__mro__) for name, member in vars(base).items()}
    return {name: member for name, member in members.items() if inspect.isfunction(member) and name[0] != "_"}


def _under(
    rule: Rule | None, declared: Callable[..., Any], method: Callable[..., Any], guard: Guard
) -> Callable[..., Any]:
    if rule is None:
        return method
    if inspect.iscoroutinefunction(declared) is (rule.limits is not None):
        raise TypeError(f"{declared.__qualname__} takes a rule with limits exactly if it is a stream")
    return _calling(rule, method, guard) if rule.limits is None else _streaming(rule, rule.limits, method, guard)


def _calling(rule: Rule, method: Callable[..., Any], guard: Guard) -> Callable[..., Any]:
    async def guarded_call(*arguments: Any, **options: Any) -> Any:
        attempt = partial(method, *arguments, **options)
        if rule.sent is not None:
            attempt = partial(method, *rule.sent(*arguments, **options))
        try:
            return await guard.call(
                rule.dependency,
                rule.policy,
                attempt,
                extra_timeout_s=rule.extra_timeout_s(*arguments, **options),
                unavailable=rule.unavailable,
                final=rule.final,
            )
        except ModelUnavailable as error:
            if issubclass(rule.unavailable, ModelUnavailable):
                raise
            gone = f"the process behind the {rule.dependency} is being replaced"
            raise rule.unavailable(gone, None, _REPLACED_AFTER_S) from error

    return guarded_call


def _streaming(
    rule: Rule, limits: Callable[..., StreamLimits], method: Callable[..., AsyncGenerator[Any, None]], guard: Guard
) -> Callable[..., AsyncGenerator[Any, None]]:
    def guarded_stream(*arguments: Any, **options: Any) -> AsyncGenerator[Any, None]:
        begin = partial(method, *arguments, **options)
        allowed = limits(*arguments, **options)
        return guard.stream(rule.dependency, rule.policy, begin, allowed, unavailable=rule.unavailable)

    return guarded_stream
