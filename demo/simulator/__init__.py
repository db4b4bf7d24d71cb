"""A provider that answers like OpenAI, bills like OpenAI and shows its books: the oracle of every end-to-end test."""
