"""The CPU backend: numba kernels for everything but the matrix products, which are torch's.

The rule: kernels are single-threaded, release the GIL and are told their share of the work;
`nerf.cpu.pool` spreads them over threads. Each has a plain PyTorch twin in `nerf.reference`.
"""
