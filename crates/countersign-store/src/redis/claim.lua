-- Claims a nonce, and charges the budget of its credential before.
--
-- KEYS  1 the mark, 2 the hash that the fingerprint belongs in, 3 what the credential took (if it is limited)
-- ARGV  1 fingerprint key, 2 fingerprint, 3 created, 4 the server's time, 5 the highest mark it has seen,
--       6 skew, 7 clock error, 8 how long nonces are kept, 9 bucket, 10 width of a bucket, 11 hashes of a bucket,
--       12 what becomes of what is over a limit (`enforce` or `report`), 13 cost, 14… interval and burst of each quota
--
-- Times are seconds. Answers {verdict, …}: see `Reply` in terms.rs.
local mark = KEYS[1]
local created, now, seen = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local skew, clock_error, keep = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local bucket, width, hashes = ARGV[9], tonumber(ARGV[10]), tonumber(ARGV[11])
local reach = skew + 2 * clock_error

local clock = redis.call('TIME')
local here = tonumber(clock[1])

local primary = primary_id()
if not primary then return {'replica'} end
local state = redis.call('HMGET', mark, 'low_water', 'key', 'primary', 'reach', bucket)
if not (state[1] or state[2] or state[3] or state[4]) then return {'lost'} end
local low, reached = seconds(state[1]), seconds(state[4])
if not (low and reached and state[2] and state[3]) then return {'broken'} end
-- Another primary, or the same one set back to an earlier time.
if state[3] ~= primary or low < seen then return {'lost'} end

if math.abs(now - here) > clock_error then
    -- A leap of a day expires hashes. If it is this clock that leapt, all of them were created before `now + reach`.
    if here - now > 43200 and low < now + reach + 1 then
        redis.call('HSET', mark, 'low_water', now + reach + 1)
    end
    return {'clock', here}
end
if state[2] ~= ARGV[1] then return {'key', state[2]} end
if created > now + skew then return {'ahead'} end
if reach > reached then redis.call('HSET', mark, 'reach', reach) end

-- The mark rises before time can step back; buckets below it are dropped a few at a time.
local oldest = here - keep
if oldest - low >= width then
    low = oldest - oldest % width
    local below = {}
    for _, name in ipairs(redis.call('HKEYS', mark)) do
        local number = tonumber(name)
        if number and (number + 1) * width <= low then below[#below + 1] = name end
    end
    table.sort(below)
    for i = 1, math.min(#below, 4) do
        local names = {}
        for hash = 0, hashes - 1 do
            names[hash + 1] = string.sub(mark, 1, -5) .. 'n:' .. below[i] .. ':' .. hash
        end
        -- Dropping comes first, since it is allowed when memory is full, and what follows it then is as well.
        redis.call('UNLINK', unpack(names))
        redis.call('HDEL', mark, below[i])
    end
    redis.call('HSET', mark, 'low_water', low)
end

-- What is refused here is charged to nobody: others may have captured it.
if created < low then return {'old', low} end
if redis.call('HEXISTS', KEYS[2], ARGV[2]) == 1 then return {'replayed', low} end

local level = {}
if KEYS[3] then
    level = charge(KEYS[3], 14, #ARGV, tonumber(ARGV[13]), here * 1000000 + tonumber(clock[2]))
    if level[1] == 0 and ARGV[12] == 'enforce' then return {'limited', low, unpack(level)} end
end

redis.call('HSET', KEYS[2], ARGV[2], '')
if redis.call('HLEN', KEYS[2]) == 1 then
    -- Only for a guard that nobody asks any more. A day is more than clocks are off by time zones.
    redis.call('EXPIREAT', KEYS[2], (tonumber(bucket) + 1) * width + keep + 86400)
end
if not state[5] then redis.call('HSET', mark, bucket, '') end
return {'fresh', low, unpack(level)}
