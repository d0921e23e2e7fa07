"""The contract: names, shapes, errors and messages on which all parts of Affect agree.

It imports no TensorFlow and no web framework.
"""
