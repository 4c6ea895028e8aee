-- Remove a member; tell interested nodes.  KEYS: presence, channel.  ARGV[3]: client.  Returns 1 if it was there.
local old = redis.call('HGET', KEYS[1], ARGV[3])
if not old then
    return 0
end
redis.call('HDEL', KEYS[1], ARGV[3])
if redis.call('HLEN', KEYS[1]) == 1 then -- nothing but the count of joins
    redis.call('DEL', KEYS[1])
end
local _, _, member = parse_member(old)
announce_presence(KEYS[2], false, member)
return 1
