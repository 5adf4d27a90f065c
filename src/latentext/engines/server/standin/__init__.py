"""A local server that speaks enough of OpenAI's protocol to rehearse a paid run free of charge, and to test against.

It answers from a fixed, seeded mixture, counts every request, and can be told to misbehave. It needs nothing but the
standard library, and it can be told to only from within its own process: over the network it just answers.
"""

from latentext.engines.server.standin.faults import Fault
from latentext.engines.server.standin.server import Asked, StandIn
from latentext.engines.server.standin.texts import StandInReply, plain_text

__all__ = ["Asked", "Fault", "StandIn", "StandInReply", "plain_text"]
