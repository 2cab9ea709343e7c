"""Videos of one person → training sets; the networks that look at them."""

import sender as sender  # switches ONNX Runtime's reports off before anything here loads it
