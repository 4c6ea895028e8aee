"""Named groups of addresses of app services: which one is asked, and how.

It knows neither what is asked nor who asks.  `breaker`, `health`, `balance` and `target` are pure: the
clock is handed in.  `names` looks names up, `http` sends, `upstream` joins them into one group, `report`
shows it.
"""
