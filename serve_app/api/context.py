"""What a request handler is given besides its request."""

from typing import Annotated

from fastapi import Depends, Request

from serve_app.services import Services


async def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


ServicesOf = Annotated[Services, Depends(_services)]
