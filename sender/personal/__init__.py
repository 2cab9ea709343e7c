"""The personal tracker: what a general tracker measures, made exact for one person.

The rule: it sees the current picture and its own past only, and what it knows of the person
travels in the sender's copy of the avatar, never to a receiver.
"""
