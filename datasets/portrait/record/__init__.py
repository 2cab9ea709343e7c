"""`facewire record`: films the 100 seconds that make a good avatar, with prompts on the screen.

prompts   what is asked for, in which order, and what counts as done
session   the recording as a pure state machine: (now, what is seen) → prompt, events
overlay   prompt + picture → what the window shows (never what the file gets)
writer    pictures → an H.264 file that plays even if the process is killed
cli       camera, window, keys, clock
"""
