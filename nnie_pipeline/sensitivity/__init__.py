"""What each layer's numbers cost the outputs, and which layers to give 16 bits."""
