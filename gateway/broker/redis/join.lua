-- Enter a member; tell interested nodes if it is new.  KEYS: presence, channel.
-- ARGV[3..]: owner, client, packed member, 1 to tell.  Returns 1 if it is new.
local old = redis.call('HGET', KEYS[1], ARGV[4])
local order = old and parse_member(old) or redis.call('HINCRBY', KEYS[1], '', 1)
redis.call('HSET', KEYS[1], ARGV[4], whole(order) .. ' ' .. ARGV[3] .. ' ' .. ARGV[5])
if old then
    return 0
end
if ARGV[6] == '1' then
    announce_presence(KEYS[2], true, ARGV[5])
end
return 1
