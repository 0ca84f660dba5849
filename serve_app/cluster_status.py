"""What runs on the cluster, as health shows it."""

import asyncio
from collections.abc import Mapping

from ray import serve

from serve_app.resilience import Guard
from serve_app.services import DeploymentState


class RayClusterStatus:
    """Implements ClusterStatus: asks Serve's controller, and this process's breakers."""

    def __init__(self, application: str, guard: Guard) -> None:
        """Take the application's name on Serve."""
        self._application = application
        self._guard = guard

    async def deployments(self) -> tuple[DeploymentState, ...]:
        """Ask the controller, in a thread because Serve's call blocks."""
        status = await asyncio.to_thread(serve.status)
        application = status.applications.get(self._application)
        if application is None:
            return ()
        return tuple(
            DeploymentState(
                name=name,
                status=str(deployment.status.value),
                replicas=sum(count for state, count in deployment.replica_states.items() if state == "RUNNING"),
                message=deployment.message,
            )
            for name, deployment in sorted(application.deployments.items())
        )

    def breakers(self) -> Mapping[str, str]:
        """Return this process's view."""
        return self._guard.states
