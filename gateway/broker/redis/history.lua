-- Read a channel's history, within the bounds of the options.  KEYS: meta, stream.
-- ARGV[3..]: candidate epoch, idle ms, history size, bytes, ms, mode, epoch, offset, limit.  Modes:
--   since   everything after the offset of that epoch, or nothing where some is missing or it is more than limit
--   next    the same, but of more than limit the oldest
--   before  the newest below the offset (0: of all)
-- Returns epoch, newest offset, 1 if nothing is missing, offset of the first publication,
-- restarts of the server, publications.
local stream, mode, offset, limit = KEYS[2], ARGV[8], tonumber(ARGV[10]), tonumber(ARGV[11])
local epoch, top, total = life(KEYS[1], stream, ARGV[3], ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
trim(stream, total, tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]))
local kept = redis.call('XLEN', stream)

local function answer(complete, first, entries, from, to, step)
    local result = { epoch, top, complete and 1 or 0, first, redis.call('HGET', KEYS[1], 'r') or '' }
    for n = from, to, step do
        result[#result + 1] = entries[n][2][2]
    end
    return result
end

if mode == 'before' then
    local newest = top
    if offset > 0 and offset <= top then
        newest = offset - 1
    end
    local there = math.max(0, kept - (top - newest))
    local count = math.max(0, math.min(limit, there))
    if count == 0 then
        return answer(there == 0, 0, {}, 1, 0, 1)
    end
    local entries = redis.call('XREVRANGE', stream, whole(newest), '-', 'COUNT', count)
    return answer(count == there, newest - count + 1, entries, #entries, 1, -1)
end

local count = top - offset
if ARGV[9] ~= epoch or count < 0 or count > kept or (mode == 'since' and count > limit) then
    return answer(false, 0, {}, 1, 0, 1)
end
count = math.min(count, limit)
if count == 0 then
    return answer(true, 0, {}, 1, 0, 1)
end
local entries = redis.call('XRANGE', stream, whole(offset + 1), '+', 'COUNT', count)
return answer(true, offset + 1, entries, 1, #entries, 1)
