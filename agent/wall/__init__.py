"""The wall: what everyone in the room must see without asking, each part with its age.

rates.py makes calls per second out of the nodes' counters, board.py puts one record together, wall.py samples for all
who look and hands the same record to each of them.
"""

from agent.wall.wall import Wall

__all__ = ["Wall"]
