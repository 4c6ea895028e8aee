-- Enter a member; tell interested nodes if it is new.  KEYS: presence, channel.
-- ARGV[3..]: owner, client, packed member, 1 to tell, the user for whom it counts ('' for none): then nodes are
-- told of the user's first client only.  Returns 1 if it is new.
local presence, client, member, user = KEYS[1], ARGV[4], ARGV[5], ARGV[7]
local old, order, first = redis.call('HGET', presence, client), nil, true
if old then
    local _
    order, _, _, user = parse_member(old)
else
    order = redis.call('HINCRBY', presence, '', 1)
    user = user ~= '' and user or nil
    first = not user or redis.call('HINCRBY', presence, '\0' .. user, 1) == 1
end
local mark = user and 'u' .. #user or ''
redis.call('HSET', presence, client, whole(order) .. mark .. ' ' .. ARGV[3] .. ' ' .. (user or '') .. member)
if old then
    return 0
end
if ARGV[6] == '1' and first then
    announce_presence(KEYS[2], true, member)
end
return 1
