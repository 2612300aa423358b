"""`gateway demo`."""
def demo() -> None:
    """x"""
