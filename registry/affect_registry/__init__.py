"""The models directory: reading and checking it, publishing versions into it, and changing which are served.

Nothing here makes a network call.
"""
