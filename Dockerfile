# syncdiff-bench with everything that it ships: the main job needs no network and no GPU.
#
#   docker build -t syncdiff-bench .
#   docker run --rm -v "$PWD/runs:/work/runs" syncdiff-bench run
#
# On an NVIDIA GPU (driver and container toolkit on the host; the libraries come with torch):
#
#   docker build -t syncdiff-bench:cuda --build-arg TORCH_BACKEND=cu128 .
#   docker run --rm --gpus all -v /data:/data -v "$PWD/runs:/work/runs" syncdiff-bench:cuda run --dataset lrs2 --data-root /data/mvlrs_v1
FROM python:3.11-slim

# Which build of torch: cpu, or one for CUDA (cu126, cu128, ...); uv knows where each lies.
ARG TORCH_BACKEND=cpu

COPY . /source
RUN pip install --no-cache-dir uv \
 && uv pip install --system --no-cache --torch-backend "$TORCH_BACKEND" '/source[pocket]' \
 && rm -rf /source

# Weights, caches and drawn splits; mount a volume here to keep them.
ENV SYNCDIFF_BENCH_HOME=/work/home
RUN useradd --create-home --uid 1000 bench && mkdir -p /work/runs /work/home && chown -R bench /work
USER bench
WORKDIR /work

ENTRYPOINT ["syncdiff-bench"]
CMD ["--help"]
