"""What latentext uses of other libraries beyond their documented interface: one file per library, and nowhere else.

A release of such a library may rename or remove any of it. So each file probes for what it uses and says in one line
what is missing (`latentext.libraries.changed`), or takes a slower documented way and logs that. docs/architecture.md
lists all of it.
"""
