-- Read notices, the oldest first.  KEYS: notices.  ARGV[3..]: the entry after which ("-" for the first), how many.
-- Returns entries and notices in turn.
local from = ARGV[3] == '-' and '-' or '(' .. ARGV[3]
local result = {}
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], from, '+', 'COUNT', ARGV[4])) do
    result[#result + 1] = entry[1]
    result[#result + 1] = entry[2][2]
end
return result
