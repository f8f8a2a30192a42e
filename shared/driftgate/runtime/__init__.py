"""The one runtime of all services. A service declares (`service.Service`); `loop.Runtime` runs it.

poll → order by time → decode → gather → decide → send → remember → commit
"""

from driftgate.runtime.loop import Runtime, stop_on_signals
from driftgate.runtime.service import AuditDraft, Effect, Handler, Relayed, Service
from driftgate.runtime.views import View, Views
from driftgate.system_clock import Clock

__all__ = [
    "AuditDraft",
    "Clock",
    "Effect",
    "Handler",
    "Relayed",
    "Runtime",
    "Service",
    "View",
    "Views",
    "stop_on_signals",
]
