"""Training of facewire's own face networks: FB-Net (where is a face) and PE-Net (what it does)."""
