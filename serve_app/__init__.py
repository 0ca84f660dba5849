"""RayScribe on Ray Serve: the only place that imports Ray, Starlette or FastAPI, and that reads the environment."""
