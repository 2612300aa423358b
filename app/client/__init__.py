"""The gateway's API for Python programs, with and without asyncio. See docs/client.md.

from app.client import Client

with Client("http://gateway:8000", api_key) as gateway:
    job = gateway.wait(gateway.submit("A red fox in the snow"))
"""

from __future__ import annotations

from app.client.async_client import AsyncClient
from app.client.client import Client
from app.client.delivery import Delivery, UnverifiedDeliveryError, verify_delivery
from app.client.dispatch import DispatchStatus, Door
from app.client.errors import (
    AlreadySettledError,
    BadArgumentError,
    BudgetExceededError,
    ClientError,
    ConflictError,
    DoubleBillingError,
    FieldError,
    ForbiddenError,
    IdempotencyKeyReusedError,
    InvalidRequestError,
    NotFoundError,
    OutOfReachError,
    RefusedError,
    StillOpenError,
    ThrottledError,
    UnauthorizedError,
    UnavailableError,
    UnexpectedAnswerError,
)
from app.client.event import Event
from app.client.job import CanceledJob, Credits, Estimate, Image, Job, JobError, JobPage, Links, Picture, Upstream
from app.client.job_filters import JobFilters
from app.client.job_options import JobBody, JobOptions
from app.client.patience import Patience
from app.client.quote import Budget, Quote
from app.client.usage import Standing, Usage, UsageDay

__all__ = [
    "AlreadySettledError",
    "AsyncClient",
    "BadArgumentError",
    "Budget",
    "BudgetExceededError",
    "CanceledJob",
    "Client",
    "ClientError",
    "ConflictError",
    "Credits",
    "Delivery",
    "DispatchStatus",
    "Door",
    "DoubleBillingError",
    "Estimate",
    "Event",
    "FieldError",
    "ForbiddenError",
    "IdempotencyKeyReusedError",
    "Image",
    "InvalidRequestError",
    "Job",
    "JobBody",
    "JobError",
    "JobFilters",
    "JobOptions",
    "JobPage",
    "Links",
    "NotFoundError",
    "OutOfReachError",
    "Patience",
    "Picture",
    "Quote",
    "RefusedError",
    "Standing",
    "StillOpenError",
    "ThrottledError",
    "UnauthorizedError",
    "UnavailableError",
    "UnexpectedAnswerError",
    "UnverifiedDeliveryError",
    "Upstream",
    "Usage",
    "UsageDay",
    "verify_delivery",
]
