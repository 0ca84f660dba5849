"""How much of a question and its conversation is read, whatever a deployment allows: it may only set less."""

MAX_MESSAGES = 100
"""Of a conversation, the question among them."""
MAX_MESSAGE_CHARACTERS = 20_000
"""Of one message; the question is one."""
MAX_QUERY_CHARACTERS = MAX_MESSAGE_CHARACTERS
"""Of what is looked up."""
