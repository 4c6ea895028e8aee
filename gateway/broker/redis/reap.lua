-- Remove all members of an owner that is gone; tell interested nodes.  KEYS: presence, channel.
-- ARGV[3]: owner.  Returns how many there were.
local gone, all = {}, redis.call('HGETALL', KEYS[1])
for n = 1, #all, 2 do
    local order, owner, member = parse_member(all[n + 1])
    if order and owner == ARGV[3] then
        gone[#gone + 1] = { order, all[n], member }
    end
end
table.sort(gone, function(a, b)
    return a[1] < b[1]
end)
for _, entry in ipairs(gone) do
    redis.call('HDEL', KEYS[1], entry[2])
    announce_presence(KEYS[2], false, entry[3])
end
if redis.call('HLEN', KEYS[1]) == 1 then
    redis.call('DEL', KEYS[1])
end
return #gone
