-- Keep the sessions of connections that stand.  KEYS: held.
-- ARGV[3..]: ms, then for each session: its name, its client, its record.
-- A value is "CLIENT RECORD"; the client alone where the session was taken from it.
-- Returns the clients, with connections to this node as well, whose sessions these were before.
local former = {}
for at = 4, #ARGV, 3 do
    local kept = redis.call('HGET', KEYS[1], ARGV[at])
    local client = kept and string.match(kept, '^%S+')
    if client and client ~= ARGV[at + 1] then
        former[#former + 1] = client
    end
    if kept ~= ARGV[at + 1] then
        redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 1] .. ' ' .. ARGV[at + 2])
    end
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return former
