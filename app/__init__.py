"""The Qwen-Image job gateway: accepts jobs, forwards them, and always knows what became of them."""

__version__ = "0.2.0.dev0"
