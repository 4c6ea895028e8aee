-- Give a message to every node.  KEYS: leases, channel.  ARGV[3]: message.  Returns how many nodes hold a lease.
local live = redis.call('ZCOUNT', KEYS[1], '(' .. whole(now_ms()), '+inf')
redis.call(ARGV[2], KEYS[2], ARGV[3])
return live
