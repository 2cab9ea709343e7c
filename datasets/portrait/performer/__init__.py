"""The performer: a person made of code, with exact ground truth.

A seed chooses the person (`Person`), 46 named coefficients move the face, `render` takes its
picture from any camera with exact masks and depth, `performance` plays it, `film` records it.
No foreign asset: every shape and colour is drawn by the formulas in this package.
"""
