"""Commands and HTTP requests as the config writes them, for tools and agents alike."""
