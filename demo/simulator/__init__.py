"""A provider that answers and bills like OpenAI and Anthropic: the oracle of every end-to-end test."""
