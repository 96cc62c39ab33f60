# The app and its workers. Targets: `cpu`, and `cuda` (the last, so the usual one).
#   docker build --target cpu -t gsc-audit:cpu .
# Which digest a tag has now, only a registry says: pin it with
#   --build-arg BASE=python:3.11-slim-bookworm@sha256:…
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/gsc
ENV PATH=/opt/gsc/bin:$PATH
WORKDIR /src
COPY requirements*.txt requirements*.lock constraints.txt ./

# PyTorch for processors alone comes from its own index, a twentieth of the size.
FROM build AS build-cpu
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN grep -E '^(torch|torchvision)==' constraints.txt > torch.txt \
    && pip install --index-url "$TORCH_INDEX" --extra-index-url https://pypi.org/simple -r torch.txt \
    && grep -vE '^(torch|torchvision|triton|nvidia-.*|cuda-.*)==' constraints.txt > others.txt \
    && pip install -c others.txt -r requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY gsc_core gsc_core
RUN pip install --no-deps .

# The wheels of PyPI bring CUDA; the host brings the driver. The digests are of Linux on x86-64.
FROM build AS build-cuda
RUN pip install --require-hashes -r requirements-linux-x86_64.lock
COPY pyproject.toml README.md LICENSE ./
COPY gsc_core gsc_core
RUN pip install --no-deps .

FROM ${BASE} AS runtime
RUN useradd --uid 10001 --create-home gsc && mkdir /data && chown gsc /data
WORKDIR /srv/gsc
COPY app.py ./
COPY pages pages
COPY .streamlit/config.toml .streamlit/config.toml
ENV PATH=/opt/gsc/bin:$PATH GSC_HOME=/data PYTHONDONTWRITEBYTECODE=1
VOLUME /data
EXPOSE 8501
USER 10001
# Starting takes long the first time: the list of detectors is made.
HEALTHCHECK --interval=30s --timeout=10s --start-period=120s --retries=3 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8501/_gsc/health', timeout=8)"]
# In a container the app must listen on its network: publish its port on 127.0.0.1 alone.
CMD ["streamlit", "run", "app.py", "--server.address", "0.0.0.0"]

FROM runtime AS cpu
COPY --from=build-cpu /opt/gsc /opt/gsc

FROM runtime AS cuda
COPY --from=build-cuda /opt/gsc /opt/gsc
