"""The Qwen-Image job gateway: accepts jobs, forwards them, and always knows what became of them."""

__version__ = "1.0.0"

USER_AGENT = f"qwen-image-gateway/{__version__}"  #: of the requests that it makes
