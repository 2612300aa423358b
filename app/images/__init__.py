"""Pictures: inspected, kept under their hash, and served by links that expire."""
