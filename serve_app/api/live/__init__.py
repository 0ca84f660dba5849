"""Live transcription over WebSockets, as OpenAI has it, and the secrets with which browsers open them."""
