"""RayScribe on Ray Serve: the only place that imports Ray, Starlette or FastAPI, and that reads the environment.

Importing this package switches off every usage statistic of the libraries below it, before any of them is imported, in
whichever process: nothing leaves the machines that this runs on.
"""

from serve_app.privacy import silence_usage_statistics

silence_usage_statistics()
