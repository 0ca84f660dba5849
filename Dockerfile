# RayScribe, two targets: `docker build --target cpu .` and `--target gpu .` (PyTorch's ordinary build runs on both; the GPU target
# has vLLM on top, what CTranslate2 looks for at run time, and serves serve_config.yaml). No model is in the image: mount one folder.
FROM python:3.11-slim-bookworm AS environment
WORKDIR /opt/rayscribe
COPY requirements ./requirements
RUN python -m venv .venv \
 && .venv/bin/pip install --no-cache-dir --require-hashes -r requirements/bootstrap.lock \
 && .venv/bin/uv pip install --no-cache --compile-bytecode --python .venv/bin/python --require-hashes --no-deps -r requirements/local.lock
COPY pyproject.toml README.md LICENSE ./
COPY pipelines ./pipelines
COPY serve_app ./serve_app
COPY configs ./configs
COPY demo ./demo
COPY serve_config.yaml ./
RUN .venv/bin/uv pip install --no-cache --python .venv/bin/python --no-deps --no-build-isolation --offline --editable .

FROM python:3.11-slim-bookworm AS cpu
RUN useradd --uid 10001 --create-home rayscribe && mkdir /var/lib/rayscribe && chown rayscribe /var/lib/rayscribe
COPY --from=environment /opt/rayscribe /opt/rayscribe
WORKDIR /opt/rayscribe
ENV PATH=/opt/rayscribe/.venv/bin:$PATH RAY_USAGE_STATS_ENABLED=0 DO_NOT_TRACK=1 RAYSCRIBE_DATA__FOLDER=/var/lib/rayscribe
USER rayscribe
VOLUME /var/lib/rayscribe
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health/ready', timeout=4)"]
CMD ["rayscribe", "up"]

FROM environment AS gpu-environment
RUN .venv/bin/uv pip install --no-cache --compile-bytecode --python .venv/bin/python --require-hashes --no-deps -r requirements/gpu.lock

FROM cpu AS gpu
COPY --from=gpu-environment /opt/rayscribe/.venv /opt/rayscribe/.venv
# CTranslate2 loads cuBLAS and cuDNN by name; they come with PyTorch's packages.
ENV LD_LIBRARY_PATH=/opt/rayscribe/.venv/lib/python3.11/site-packages/nvidia/cu13/lib:/opt/rayscribe/.venv/lib/python3.11/site-packages/nvidia/cudnn/lib \
    RAY_SERVE_ENABLE_HA_PROXY=1
CMD ["serve", "run", "serve_config.yaml"]
