-- Remove a member; tell interested nodes.  KEYS: presence, channel.  ARGV[3]: client.  Returns 1 if it was there.
local old = redis.call('HGET', KEYS[1], ARGV[3])
if not old then
    return 0
end
local _, _, member, user = parse_member(old)
remove_member(KEYS[1], KEYS[2], ARGV[3], member, user)
return 1
