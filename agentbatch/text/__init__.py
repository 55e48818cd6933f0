"""Text for people: numbers, tables, suggestions, and nothing that hurts a terminal or tells a secret."""
