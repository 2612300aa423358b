"""A stand-in for the Qwen-Image-2512 API: faithful to its document, faulty on request, and the judge of the books.

Its account (``GET /control/account``) tells what the upstream accepted, charged, refunded and called back.
"""

from app.emulator.options import EmulatorOptions
from app.emulator.web import create_emulator
from app.emulator.world import World

__all__ = ["EmulatorOptions", "World", "create_emulator"]
