-- In front of every script.  ARGV[1] and ARGV[2] are the shard's, see gateway/broker/redis/shard.py.
--
-- A channel's meta hash: e epoch, o offset of the newest publication, i incarnation of the server when it was used
-- last, c bytes ever kept, f the value of c at which the oldest kept publication stands, or a lower one,
-- s the state of a state channel after all publications up to o, r the last restarts of the server within the
-- epoch: for each the run of the server, and the value of o that it began with.
-- Its stream: each entry is one publication or several that came together; ids are OFFSET-ARRIVAL (of the last of
-- them; milliseconds of this server's clock), without a hole and up to o; fields are d, the publications, c, the
-- value of c before them, and n, how many they are.  The oldest entry may reach below what the options allow.

local function now_ms()
    local t = redis.call('TIME')
    return t[1] * 1000 + math.floor(t[2] / 1000)
end

local function whole(number)
    return string.format('%.0f', number)
end

-- Note that a server that says it loses nothing was started again, with `top` as the newest offset.
local function note_restart(meta, run, top)
    local known = redis.call('HGET', meta, 'r')
    local restarts = (known and known .. ' ' or '') .. run .. ' ' .. top
    restarts = string.match(restarts, '%S+ %S+ %S+ %S+ %S+ %S+ %S+ %S+$') or restarts
    redis.call('HSET', meta, 'i', ARGV[1], 'r', restarts)
end

-- Return epoch, newest offset, c and f.  A new life begins where there is none, and where the server may have
-- lost the end of the one it remembers.  A state is what the new life begins with.  An incarnation may be followed
-- by the run of the server: then another run goes on with the life, which is noted.
local function life(meta, stream, candidate, idle_ms)
    local m = redis.call('HMGET', meta, 'e', 'o', 'i', 'c', 'f')
    if m[1] and m[2] and m[3] == ARGV[1] then
        return m[1], tonumber(m[2]), tonumber(m[4]) or 0, tonumber(m[5]) or 0
    end
    local base, run = string.match(ARGV[1], '^(%S+) (%S+)$')
    if base and m[1] and m[2] and m[3] and string.match(m[3], '^%S+') == base then
        note_restart(meta, run, m[2])
        return m[1], tonumber(m[2]), tonumber(m[4]) or 0, tonumber(m[5]) or 0
    end
    local state = redis.call('HGET', meta, 's')
    redis.call('DEL', meta, stream)
    if state then
        redis.call('HSET', meta, 's', state)
    end
    redis.call('HSET', meta, 'e', candidate, 'o', 0, 'i', ARGV[1], 'c', 0, 'f', 0)
    redis.call('PEXPIRE', meta, idle_ms)
    return candidate, 0, 0, 0
end

local function count_of(entry)
    return tonumber(entry[2][6])
end

-- Return the offset of the first publication of an entry.
local function first_of(entry)
    return tonumber(string.match(entry[1], '^%d+')) - count_of(entry) + 1
end

-- Drop the oldest entries of a stream up to the first for which `stays` is true; return that entry.
local function drop_until(stream, stays)
    local from, count = '-', 1 -- mostly the oldest stays, and a look at one costs little
    while true do
        local page = redis.call('XRANGE', stream, from, '+', 'COUNT', count)
        for n, entry in ipairs(page) do
            if stays(entry) then
                if n > 1 or from ~= '-' then
                    redis.call('XTRIM', stream, 'MINID', '=', entry[1])
                end
                return entry
            end
        end
        if #page == 0 then
            redis.call('DEL', stream)
            return nil
        end
        from, count = '(' .. page[#page][1], 16
    end
end

local function trim_age(stream, ttl_ms)
    local latest = now_ms() - ttl_ms
    drop_until(stream, function(entry)
        return tonumber(string.match(entry[1], '%-(%d+)$')) > latest
    end)
end

-- Return the new f.
local function trim_bytes(stream, total, bound)
    local oldest = drop_until(stream, function(entry)
        return total - tonumber(entry[2][4]) <= bound
    end)
    return oldest and tonumber(oldest[2][4]) or total
end

-- Apply all bounds of the options that a read brings.
local function trim(stream, top, total, size, bound, ttl_ms)
    if size <= 0 or ttl_ms <= 0 then
        redis.call('DEL', stream)
        return
    end
    redis.call('XTRIM', stream, 'MINID', '=', whole(math.max(top - size + 1, 0)))
    if bound > 0 then
        trim_bytes(stream, total, bound)
    end
    trim_age(stream, ttl_ms)
end

local function announce_presence(channel, joined, member)
    redis.call(ARGV[2], channel, '\147\002' .. (joined and '\195' or '\194') .. member)
end

-- A member's value is "ORDER OWNER MEMBER", or "ORDERuBYTES OWNER USERMEMBER" where it counts for a user, whose
-- name has so many bytes.  Return order, owner, member, and the user for whom it counts or nil.
local function parse_member(value)
    local order, bytes, owner, at = string.match(value, '^(%d+)u?(%d*) (%S+) ()')
    if not order then
        return nil
    end
    if bytes == '' then
        return tonumber(order), owner, string.sub(value, at)
    end
    local from = at + tonumber(bytes)
    return tonumber(order), owner, string.sub(value, from), string.sub(value, at, from - 1)
end

-- Remove a member; tell interested nodes (unless `quiet`, or another client counts for its user).
local function remove_member(presence, channel, client, member, user, quiet)
    redis.call('HDEL', presence, client)
    if user then
        local field = '\0' .. user -- no client is named so
        if redis.call('HINCRBY', presence, field, -1) > 0 then
            return
        end
        redis.call('HDEL', presence, field)
    end
    if redis.call('HLEN', presence) == 1 then -- nothing but the count of joins
        redis.call('DEL', presence)
    end
    if not quiet then
        announce_presence(channel, false, member)
    end
end
