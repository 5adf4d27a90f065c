"""What latentext uses of transformers beyond its documented interface: of its models, and of its chat templates.

Two files, since prompts are rendered without torch.
"""
