"""From a spec to requests: their order, their keys, and the shards they are cut into.

`keys` says what identifies a request, `encoding` makes prompts of chats, `occurrences` counts equal ones, `shards`
cuts, `note` is what a plan records about itself, `making` does the one pass over the rows and opens what is there,
`comparing` holds later runs to what was planned, and `stored` reads the rows that finished records hold.
"""

from latentext.plan.keys import request_key
from latentext.plan.making import Plan, make_plan
from latentext.plan.shards import Shard, Shards

__all__ = ["Plan", "Shard", "Shards", "make_plan", "request_key"]
