"""What flows need from the world, as narrow protocols that state the obligations of whoever implements them.

Implementations: each capability's ``engines/``, ``stores/`` and ``jobs/dbos/`` (in process), ``serve_app/remote/``
(through Ray Serve handles) and ``fakes/`` (deterministic). One contract suite a port, in ``tests/contracts/``,
runs over all of them.

Common obligations: methods are coroutines and never block the event loop (an engine offloads to a thread); errors of
foreign libraries are translated, at the adapter, into the tree of ``errors.py``; arguments are never modified; calls
may be made concurrently unless said otherwise, and cancelling one leaves nothing behind.
"""
