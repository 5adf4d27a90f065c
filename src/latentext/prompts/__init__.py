"""Where requests come from: rows, templates, chat formatting, token ids."""
