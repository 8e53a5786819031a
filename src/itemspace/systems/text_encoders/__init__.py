"""Text encoders and their contrastive training."""
