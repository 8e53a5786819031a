"""What embeddings are like: how many directions they use, how evenly, who is near whom, and how far two of them agree."""
