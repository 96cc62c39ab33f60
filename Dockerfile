FROM python:3.11-slim

WORKDIR /srv/gsc
COPY requirements.txt constraints.txt ./
RUN pip install --no-cache-dir -c constraints.txt -r requirements.txt

COPY pyproject.toml README.md LICENSE app.py ./
COPY gsc_core gsc_core
COPY pages pages
COPY .streamlit .streamlit
RUN pip install --no-cache-dir --no-deps . \
    && useradd --create-home gsc && mkdir /data && chown gsc /data

USER gsc
ENV GSC_HOME=/data
VOLUME /data
EXPOSE 8501
# inside a container the app must listen on its network; publish the port on loopback:
#   docker run -p 127.0.0.1:8501:8501 -v gsc:/data gsc-audit
CMD ["sh", "-c", "{ test -e $GSC_HOME/runs/demo/metrics.json || gsc demo; } && exec streamlit run app.py --server.address 0.0.0.0"]
