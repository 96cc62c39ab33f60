"""A login as Streamlit is told of it."""

PROVIDER = {
    "redirect_uri": "http://127.0.0.1:8501/oauth2callback",
    "cookie_secret": "not a secret of anybody",
    "client_id": "id",
    "client_secret": "secret",
    "server_metadata_url": "http://127.0.0.1:9/.well-known/openid-configuration",
}


LOGIN = """
[auth]
redirect_uri = "http://127.0.0.1:1/oauth2callback"
cookie_secret = "not a secret of anybody"
client_id = "id"
client_secret = "secret"
server_metadata_url = "http://127.0.0.1:1/.well-known/openid-configuration"
"""
