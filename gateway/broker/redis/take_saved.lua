-- Take a kept session; the name of the client stays in its place.  KEYS: session.
-- Returns its record, or nothing.
local kept = redis.call('GET', KEYS[1])
local client, record = string.match(kept or '', '^(%S*) (.*)$')
if not record then
    return nil
end
redis.call('SET', KEYS[1], client, 'KEEPTTL')
return record
