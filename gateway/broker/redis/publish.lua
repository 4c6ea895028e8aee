-- Number publications of one channel, keep them, and tell every interested node in one message.
-- KEYS: meta, stream, channel, then idempotency keys.
-- ARGV[3..]: candidate epoch, idle ms, history size, bytes, ms, key ms; then for each publication:
-- packed publication, bytes that count, number of its idempotency key (0: none).
-- Returns the epoch and the first publication's offset; where there are keys, the epoch, then for each
-- publication its offset, or "EPOCH:OFFSET" where its key was known.
local meta, stream, channel = KEYS[1], KEYS[2], KEYS[3]
local size, bound, ttl_ms, key_ms = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local epoch, top, total, floor = life(meta, stream, ARGV[3], ARGV[4])
local first = top + 1
local keeps = size > 0 and ttl_ms > 0
local arrival = keeps and whole(now_ms())
local results, blobs = { epoch }, {}
local added = 0
local keyed = #KEYS > 3

local function keep(blob, bytes)
    if bound > 0 and bytes > bound then
        redis.call('DEL', stream)
        return
    end
    local id = whole(top) .. '-' .. arrival
    local done = redis.pcall('XADD', stream, id, 'd', blob, 'c', total)
    if type(done) == 'table' then
        if string.find(done.err, 'equal or smaller', 1, true) then -- an older stream was left behind
            redis.call('DEL', stream)
        end
        redis.call('XADD', stream, id, 'd', blob, 'c', total) -- raises the error that it was, such as OOM
    end
    total = total + bytes
    added = added + 1
end

for at = 9, #ARGV, 3 do
    local blob, key = ARGV[at], tonumber(ARGV[at + 2])
    local known = key > 0 and redis.call('GET', KEYS[3 + key])
    if known then
        results[#results + 1] = known
    else
        top = top + 1
        blobs[#blobs + 1] = blob
        if keyed or at == 9 then
            results[#results + 1] = top
        end
        if keeps then
            keep(blob, tonumber(ARGV[at + 1]))
        end
        if key > 0 then
            redis.call('SET', KEYS[3 + key], epoch .. ':' .. whole(top), 'PX', key_ms)
        end
    end
end

if #blobs > 0 then
    if not keeps and total > 0 then -- what was kept before cannot be read across the hole
        redis.call('DEL', stream)
        total, floor = 0, 0
    end
    if keeps then
        if added > 0 then -- once for all of them, which costs less than a bound with each
            redis.call('XTRIM', stream, 'MAXLEN', '=', size)
        end
        if bound > 0 and total - floor > bound then
            floor = trim_bytes(stream, total, bound)
        end
        if top % 16 == 0 then
            trim_age(stream, ttl_ms)
        end
        redis.call('PEXPIRE', stream, ttl_ms)
    end
    redis.call('HSET', meta, 'o', whole(top), 'c', whole(total), 'f', whole(floor))
    redis.call('PEXPIRE', meta, ARGV[4])
    local count = string.char(math.floor(#blobs / 256), #blobs % 256)
    local head = '\148\001' .. cmsgpack.pack(epoch) .. cmsgpack.pack(first) .. '\220' .. count
    redis.call(ARGV[2], channel, head .. table.concat(blobs))
end
return results
