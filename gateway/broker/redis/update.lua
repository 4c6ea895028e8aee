-- In front of publish.lua: publish a patch if the state is still the one from which the next was made.
-- KEYS and ARGV are publish.lua's, of one publication, and three more: the epoch and the version of that state,
-- and the state that follows.  Returns what publish.lua does; or 0, epoch, version and the state or "".
local follows, version, of = table.remove(ARGV), tonumber(table.remove(ARGV)), table.remove(ARGV)
if not (KEYS[4] and redis.call('EXISTS', KEYS[4]) == 1) then
    local epoch, top = life(KEYS[1], KEYS[2], ARGV[3], ARGV[4])
    if epoch ~= of or top ~= version then
        return { 0, epoch, top, redis.call('HGET', KEYS[1], 's') or '' }
    end
    redis.call('HSET', KEYS[1], 's', follows)
end
