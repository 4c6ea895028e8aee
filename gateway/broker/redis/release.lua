-- Keep a session no longer, since its connection is gone.  KEYS: held.
-- ARGV[3..]: session, client, 1 to forget also that it was taken from that client.
-- Returns 0 where it was taken from that client, or is another client's now; else 1, also where nothing is known.
-- That it was taken stays known until it is to be forgotten: whoever gets no reply asks again.
local kept = redis.call('HGET', KEYS[1], ARGV[3])
if not kept then
    return 1
end
local client = string.match(kept, '^%S+')
if client ~= ARGV[4] then
    return 0
end
if kept == client then
    if ARGV[5] == '1' then
        redis.call('HDEL', KEYS[1], ARGV[3])
    end
    return 0
end
redis.call('HDEL', KEYS[1], ARGV[3])
return 1
