# Two images from one recipe: `docker build --target cpu -t dubserve .` and `docker build --target cuda -t dubserve:cuda .`
#
# Both stand on the same small Python image. The CUDA libraries come as wheels, so that exactly the ones the engines were
# built against are there: CUDA 12 and cuDNN 9, the last that CTranslate2 and ONNX Runtime have in common. The driver
# comes from the host (NVIDIA container toolkit).
#
# Run, with nothing to write to but what has to be (docs/deploy.md; configs/compose.yaml is the same with PostgreSQL):
#   docker run --read-only --tmpfs /tmp --shm-size=1g --cap-drop=ALL --security-opt=no-new-privileges \
#     -v /srv/dub:/data -p 127.0.0.1:50051:50051 -p 127.0.0.1:8000:8000 dubserve
# Both ports are in the clear: publish them only to those who may use the service. TLS is port 50052, with certificates.

FROM python:3.11-slim-bookworm AS base
# the one package is pinned by the release of Debian that the image stands on
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home dub \
    && install -d -o dub -g dub /data /data/uploads /data/artifacts /data/work /data/cache
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    XDG_CACHE_HOME=/data/cache \
    HF_HOME=/data/cache/huggingface \
    UPLOADS_DIR=/data/uploads \
    ARTIFACTS_DIR=/data/artifacts \
    TEMP_WORK_DIR=/data/work

FROM base AS build-cpu
RUN python -m venv /opt/venv
WORKDIR /app
# dependencies first: they change less often than the code, and need none of it
COPY pyproject.toml ./
COPY configs/constraints.txt configs/
RUN python -c "import tomllib; p = tomllib.load(open('pyproject.toml', 'rb'))['project']; extras = p['optional-dependencies']; print(*p['dependencies'], *(one for extra in ('demo', 'postgres', 'cjk') for one in extras[extra]), sep='\n')" > /tmp/requirements.txt \
    && pip install --no-cache-dir -c configs/constraints.txt -r /tmp/requirements.txt
COPY . .
# Inside a container the loopback address would be out of everybody's reach, and whoever calls comes from a private one;
# what is printed is collected by a machine.
RUN pip install --no-cache-dir --no-deps -e . \
    && python -m compileall -q configs export models serve_app \
    && sed -i -e 's/host: 127\.0\.0\.1/host: 0.0.0.0/' \
        -e 's/^    args:$/    args:\n      ingress: {plaintext_from: [127.0.0.0\/8, 10.0.0.0\/8, 172.16.0.0\/12, 192.168.0.0\/16, "::1\/128", "fc00::\/7"]}\n      telemetry: {logs: json}/' \
        serve_config.yaml configs/gpu.yaml

FROM build-cpu AS build-cuda
# Both builds of ONNX Runtime write the same folder: the one goes before the other comes, and nothing is installed after.
# The libraries are those of CUDA 12.8, all of them named, so that no other comes along.
RUN pip uninstall -y onnxruntime \
    && pip install --no-cache-dir --no-deps -c configs/constraints.txt \
        nvidia-cublas-cu12 nvidia-cuda-nvrtc-cu12 nvidia-cuda-runtime-cu12 nvidia-cudnn-cu12 nvidia-cufft-cu12 \
        nvidia-curand-cu12 nvidia-nvjitlink-cu12 onnxruntime-gpu

FROM base AS runtime
WORKDIR /app
# by number, so that Kubernetes can tell that it is not root
USER 10001
VOLUME /data
EXPOSE 8000 50051 50052
HEALTHCHECK --interval=30s --timeout=5s --start-period=180s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/-/healthz', timeout=4)"]
ENTRYPOINT ["tini", "--"]

FROM runtime AS cuda
COPY --from=build-cuda /opt/venv /opt/venv
COPY --from=build-cuda /app /app
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility,video \
    NVIDIA=/opt/venv/lib/python3.11/site-packages/nvidia
ENV LD_LIBRARY_PATH=$NVIDIA/cublas/lib:$NVIDIA/cuda_runtime/lib:$NVIDIA/cuda_nvrtc/lib:$NVIDIA/cudnn/lib:$NVIDIA/cufft/lib:$NVIDIA/curand/lib:$NVIDIA/nvjitlink/lib
CMD ["dubserve", "serve", "--config", "configs/gpu.yaml"]

FROM runtime AS cpu
COPY --from=build-cpu /opt/venv /opt/venv
COPY --from=build-cpu /app /app
CMD ["dubserve", "serve", "--config", "serve_config.yaml"]
