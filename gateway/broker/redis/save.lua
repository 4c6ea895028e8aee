-- Keep the session of a connection that is gone.  KEYS: session.
-- ARGV[3..]: client, record, for so many ms, 1 where it was tried before.
-- Returns 1, or 0 where the earlier try has kept it and it was taken since, or another client's was kept since.
if ARGV[6] == '1' then
    local kept = redis.call('GET', KEYS[1])
    if kept and (kept == ARGV[3] or string.find(kept, ' ', 1, true)) then
        return 0
    end
end
redis.call('SET', KEYS[1], ARGV[3] .. ' ' .. ARGV[4], 'PX', ARGV[5])
return 1
