"""The server that a tutorial builds, FastAPI around ``tf.saved_model.load``, with which bench/serve.py compares ours.

MODEL=DIR uvicorn bench.tutorial_server:app
"""

import io
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf
from fastapi import Body, FastAPI
from PIL import Image

app = FastAPI()
model = tf.saved_model.load(os.environ["MODEL"])
serve = model.signatures["serving_default"]


@app.post("/predict")
def predict(body: bytes = Body(media_type="image/jpeg")) -> dict[str, object]:
    """Return the model's outputs for one JPEG."""
    image = Image.open(io.BytesIO(body)).convert("RGB").resize((224, 224))
    outputs = serve(images=tf.constant(np.asarray(image)[np.newaxis]))
    return {name: values.numpy()[0].tolist() for name, values in outputs.items()}


@app.get("/readyz")
def ready() -> dict[str, str]:
    """Answer once the model is loaded."""
    return {"status": "ready"}
