"""Pairs proposed by a model: the wording of a request, the reading of a reply, what comes of all replies.

Pure functions of their arguments, without any engine: the real-time loop (`latentext.studies.pairs`), batch files and
rehearsals use the same ones.
"""

from latentext.studies.pairs.proposing.harvest import Harvest, ProposalAnswer, Yield, normalised_text
from latentext.studies.pairs.proposing.lessons import lesson, lessons
from latentext.studies.pairs.proposing.replies import ProposalReply, ReplyKind, parse_reply
from latentext.studies.pairs.proposing.wording import (
    PROPOSAL_DECODING,
    ResponseFormat,
    proposal_messages,
    response_format,
)

__all__ = [
    "PROPOSAL_DECODING",
    "Harvest",
    "ProposalAnswer",
    "ProposalReply",
    "ReplyKind",
    "ResponseFormat",
    "Yield",
    "lesson",
    "lessons",
    "normalised_text",
    "parse_reply",
    "proposal_messages",
    "response_format",
]
