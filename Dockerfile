# Two images from one recipe: `docker build --target cpu -t dubserve .` and `docker build --target cuda -t dubserve:cuda .`
#
# Both stand on the same small Python image. The CUDA libraries come as wheels, so that exactly the ones the engines were
# built against are there: CUDA 12 and cuDNN 9, the last that CTranslate2 and ONNX Runtime have in common. The driver
# comes from the host (NVIDIA container toolkit).
#
# Run: docker run --shm-size=2g -v /srv/dub:/data -p 127.0.0.1:50051:50051 -p 127.0.0.1:8000:8000 dubserve
# The ports have no TLS: publish them only to those who may use the service.

FROM python:3.11-slim-bookworm AS base
RUN apt-get update \
    && apt-get install -y --no-install-recommends tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home dub \
    && install -d -o dub -g dub /data /data/uploads /data/artifacts /data/work
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    UPLOADS_DIR=/data/uploads \
    ARTIFACTS_DIR=/data/artifacts \
    TEMP_WORK_DIR=/data/work

FROM base AS build-cpu
RUN python -m venv /opt/venv
WORKDIR /app
# dependencies first: they change less often than the code
COPY pyproject.toml README.md ./
COPY configs/constraints.txt configs/
RUN mkdir -p configs export/bench models/asr models/speaker models/translation models/tts models/vad \
        serve_app/deployments serve_app/jobs/migrations/versions serve_app/proto serve_app/stages \
    && pip install --no-cache-dir -c configs/constraints.txt -e '.[demo,postgres,cjk]'
COPY . .
# inside a container the loopback address would be out of everybody's reach
RUN sed -i 's/host: 127\.0\.0\.1/host: 0.0.0.0/' serve_config.yaml configs/*.yaml

FROM build-cpu AS build-cuda
# Both builds of ONNX Runtime write the same folder: the one goes before the other comes, and nothing is installed after.
RUN pip install --no-cache-dir \
        'nvidia-cublas-cu12<13' 'nvidia-cuda-runtime-cu12<13' 'nvidia-cuda-nvrtc-cu12<13' \
        'nvidia-cudnn-cu12>=9,<10' 'nvidia-cufft-cu12<12' 'nvidia-curand-cu12<11' \
    && pip uninstall -y onnxruntime \
    && pip install --no-cache-dir --no-deps 'onnxruntime-gpu>=1.23,<1.27'

FROM base AS runtime
WORKDIR /app
USER dub
VOLUME /data
EXPOSE 8000 50051
HEALTHCHECK --interval=30s --timeout=5s --start-period=180s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/-/healthz', timeout=4)"]
ENTRYPOINT ["tini", "--"]

FROM runtime AS cuda
COPY --from=build-cuda /opt/venv /opt/venv
COPY --from=build-cuda /app /app
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility,video \
    NVIDIA=/opt/venv/lib/python3.11/site-packages/nvidia
ENV LD_LIBRARY_PATH=$NVIDIA/cublas/lib:$NVIDIA/cuda_runtime/lib:$NVIDIA/cuda_nvrtc/lib:$NVIDIA/cudnn/lib:$NVIDIA/cufft/lib:$NVIDIA/curand/lib
CMD ["dubserve", "serve", "--config", "configs/gpu.yaml"]

FROM runtime AS cpu
COPY --from=build-cpu /opt/venv /opt/venv
COPY --from=build-cpu /app /app
CMD ["dubserve", "serve", "--config", "serve_config.yaml"]
