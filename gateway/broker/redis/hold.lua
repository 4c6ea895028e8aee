-- Keep the sessions of connections that stand.  KEYS: held.
-- ARGV[3..]: ms, then for each session: its name, its client, its record.
-- A value is "CLIENT RECORD"; the client alone where the session was taken from it.
for at = 4, #ARGV, 3 do
    if redis.call('HGET', KEYS[1], ARGV[at]) ~= ARGV[at + 1] then
        redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 1] .. ' ' .. ARGV[at + 2])
    end
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
