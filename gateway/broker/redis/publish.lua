-- Number publications of one channel, keep them, and tell every interested node in one message.
-- KEYS: meta, stream, channel, then idempotency keys.
-- ARGV[3..]: candidate epoch, idle ms, history size, bytes, ms, key ms; then for each piece:
-- packed publications, bytes that count, number of publications, number of the idempotency key (0: none) of
-- what is then a single one.
-- Returns the epoch and the first publication's offset; where there are keys, the epoch, then for each
-- piece the offset of its first, or "EPOCH:OFFSET" where its key was known.
local meta, stream, channel = KEYS[1], KEYS[2], KEYS[3]
local size, bound, ttl_ms, key_ms = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local epoch, top, total, floor = life(meta, stream, ARGV[3], ARGV[4])
local first = top + 1
local keeps = size > 0 and ttl_ms > 0
local arrival = keeps and whole(now_ms())
local results, told = { epoch }, { '' } -- a head, and the publications; made one text once, since long ones cost much
local keyed = #KEYS > 3

local function keep(blob, bytes, count)
    if bound > 0 and bytes > bound then
        redis.call('DEL', stream)
        return
    end
    local id, oldest = whole(top) .. '-' .. arrival, whole(math.max(top - size + 1, 0))
    local done = redis.pcall('XADD', stream, 'MINID', '=', oldest, id, 'd', blob, 'c', total, 'n', count)
    if type(done) == 'table' then
        if string.find(done.err, 'equal or smaller', 1, true) then -- an older stream was left behind
            redis.call('DEL', stream)
        end
        redis.call('XADD', stream, id, 'd', blob, 'c', total, 'n', count) -- raises what it was, such as OOM
    end
    total = total + bytes
end

for at = 9, #ARGV, 4 do
    local blob, count, key = ARGV[at], tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
    local known = key > 0 and redis.call('GET', KEYS[3 + key])
    if known then
        results[#results + 1] = known
    else
        if keyed or at == 9 then
            results[#results + 1] = top + 1
        end
        top = top + count
        told[#told + 1] = blob
        if keeps then
            keep(blob, tonumber(ARGV[at + 1]), count)
        end
        if key > 0 then
            redis.call('SET', KEYS[3 + key], epoch .. ':' .. whole(top), 'PX', key_ms)
        end
    end
end

if top >= first then
    if not keeps and total > 0 then -- what was kept before cannot be read across the hole
        redis.call('DEL', stream)
        total, floor = 0, 0
    end
    if keeps then
        if bound > 0 and total - floor > bound then
            floor = trim_bytes(stream, total, bound)
        end
        if math.floor(top / 16) > math.floor((first - 1) / 16) then -- now and then: each read does it, too
            trim_age(stream, ttl_ms)
        end
        redis.call('PEXPIRE', stream, ttl_ms)
    end
    redis.call('HSET', meta, 'o', whole(top), 'c', whole(total), 'f', whole(floor))
    redis.call('PEXPIRE', meta, ARGV[4])
    local count = top - first + 1
    local length = string.char(math.floor(count / 256), count % 256)
    told[1] = '\148\001' .. cmsgpack.pack(epoch) .. cmsgpack.pack(first) .. '\220' .. length
    redis.call(ARGV[2], channel, table.concat(told))
end
return results
