"""The head on a GPU: Triton kernels, and the host code that launches them.

The rule: importing this package imports no Triton; its modules do (`nerf.backends` says whether
they can). Kernels: `encode`, `network`, `march` (device functions); `shade` (pictures), `tables`
(blending, Adam), `samples`, `losses`, `gradients`, `frames` (training). Host: `packing`,
`renderer`, `engine`, `resident`. Every kernel has its plain twin in `nerf.reference`.
"""
