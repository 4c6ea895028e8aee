-- Give a message to whoever listens.  KEYS: channel.  ARGV[3]: message.
redis.call(ARGV[2], KEYS[1], ARGV[3])
return 1
