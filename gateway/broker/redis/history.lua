-- Read a channel's history, within the bounds of the options.  KEYS: meta, stream.
-- ARGV[3..]: candidate epoch, idle ms, history size, bytes, ms, mode, epoch, offset, limit.  Modes:
--   since   everything after the offset of that epoch, or nothing where some is missing or it is more than limit
--   next    the same, but of more than limit the oldest
--   before  the newest below the offset (0: of all)
-- Returns epoch, newest offset, 1 if nothing is missing, restarts of the server, offsets of the first and of the
-- last publication of the page (the last is less: there is none), the offset of the first that follows here and
-- the number of all that do, then these, packed, in entries: some may stand before the page, and behind it.
local stream, size, mode = KEYS[2], tonumber(ARGV[5]), ARGV[8]
local offset, limit = tonumber(ARGV[10]), tonumber(ARGV[11])
local epoch, top, total = life(KEYS[1], stream, ARGV[3], ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
trim(stream, top, total, size, tonumber(ARGV[6]), tonumber(ARGV[7]))
local head = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
local oldest = head and math.max(first_of(head), top - size + 1) or top + 1

local function answer(complete, first, last)
    local result = { epoch, top, complete and 1 or 0, redis.call('HGET', KEYS[1], 'r') or '', first, last, first, 0 }
    local from = first
    while from <= last do
        local page = redis.call('XRANGE', stream, whole(from), '+', 'COUNT', math.min(last - from + 1, 64))
        for _, entry in ipairs(page) do
            if from <= last then
                if result[8] == 0 then
                    result[7] = first_of(entry)
                end
                result[8] = result[8] + count_of(entry)
                result[#result + 1] = entry[2][2]
                from = first_of(entry) + count_of(entry)
            end
        end
        if #page == 0 then -- somebody else removed it
            return { epoch, top, 0, '', 1, 0, 1, 0 }
        end
    end
    return result
end

if mode == 'before' then
    local newest = top
    if offset > 0 and offset <= top then
        newest = offset - 1
    end
    local first = math.max(oldest, newest - math.max(limit, 0) + 1)
    return answer(first == oldest or oldest > newest, first, newest)
end

local count = top - offset
if ARGV[9] ~= epoch or count < 0 or offset + 1 < oldest or (mode == 'since' and count > limit) then
    return answer(false, 1, 0)
end
return answer(true, offset + 1, math.min(top, offset + limit))
