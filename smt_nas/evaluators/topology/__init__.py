"""What published ImageNet networks say of topology: how much it is worth, and which is usual."""
