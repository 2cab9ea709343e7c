"""The benches: what is claimed of facewire is measured here, on the machine at hand."""
