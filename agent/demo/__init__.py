"""`palang demo`: the main job, played on real processes and real packets, each step asserted from outside.

`steps` holds what is asserted, `phones` the two user agents that see the packets, `run` sets the stage and plays.
"""
