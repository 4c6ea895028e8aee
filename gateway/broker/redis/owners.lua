-- Return all owners that hold a lease, or did.  KEYS: leases, graves.  ARGV[3]: ms since those in graves were buried.
local owners = redis.call('ZRANGE', KEYS[1], 0, -1)
local buried = redis.call('ZRANGEBYSCORE', KEYS[2], whole(now_ms() - tonumber(ARGV[3])), '+inf')
for _, owner in ipairs(buried) do
    owners[#owners + 1] = owner
end
return owners
