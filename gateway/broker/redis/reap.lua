-- Remove all members of an owner that is gone; tell interested nodes, if asked to.  KEYS: presence, channel.
-- ARGV[3..]: owner, 1 to tell.  Returns how many there were.
local gone, all = {}, redis.call('HGETALL', KEYS[1])
for n = 1, #all, 2 do
    local order, owner, member, user = parse_member(all[n + 1])
    if order and owner == ARGV[3] then
        gone[#gone + 1] = { order, all[n], member, user }
    end
end
table.sort(gone, function(a, b)
    return a[1] < b[1]
end)
for _, entry in ipairs(gone) do
    remove_member(KEYS[1], KEYS[2], entry[2], entry[3], entry[4], ARGV[4] ~= '1')
end
return #gone
