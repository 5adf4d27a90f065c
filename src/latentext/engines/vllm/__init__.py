"""The engine `vllm`: texts by vLLM, in this process or in one that it starts (extra `vllm`)."""
