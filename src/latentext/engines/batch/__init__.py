"""OpenAI's Batch API as a state machine on disk: any file of requests in, an answer or a reason for each of them out.

Nothing here knows what the requests are about. Two folders hold everything (`workspace`): the request files and the
ledger, and what came back. `submitting` sends without ever paying twice, `polling` asks how batches stand,
`downloading` fetches whole files, `settling` puts what has no answer into new request files, `joining` finds the answer
of a request, and `workflow` does these in turn.
"""
