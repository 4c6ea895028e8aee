-- Return the values of a channel's presence.  KEYS: presence.
return redis.call('HVALS', KEYS[1])
