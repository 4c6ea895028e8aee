-- One command on one key.  KEYS: key.  ARGV[3..]: command, its arguments after the key.
return redis.call(ARGV[3], KEYS[1], unpack(ARGV, 4))
