-- Makes the mark of a primary that has none, and raises it where another primary, or this one, may have lost claims.
--
-- KEYS  1 the mark
-- ARGV  1 a new fingerprint key, 2 the server's time, 3 the highest mark it has seen, 4 skew, 5 clock error,
--       6 `if-lost`, or `always`
--
-- Answers {verdict, …}: see `Recovery` in terms.rs.
local now, seen = tonumber(ARGV[2]), tonumber(ARGV[3])
local clock_error = tonumber(ARGV[5])
local reach = tonumber(ARGV[4]) + 2 * clock_error

local here = tonumber(redis.call('TIME')[1])
local primary = primary_id()
if not primary then return {'replica'} end
if math.abs(now - here) > clock_error then return {'clock', here} end

local state = redis.call('HMGET', KEYS[1], 'low_water', 'key', 'primary', 'reach')
local low, key = 0, ARGV[1]
if state[1] or state[2] or state[3] or state[4] then
    low, key = seconds(state[1]), state[2]
    local reached = seconds(state[4])
    if not (low and reached and key and state[3]) then return {'broken'} end
    reach = math.max(reach, reached)
    if state[3] == primary and low >= seen and ARGV[6] == 'if-lost' then return {'known', low, key} end
end

low = math.max(low, seen, math.max(now, here) + reach + 1)
local evicted = string.match(redis.call('INFO', 'stats'), 'evicted_keys:(%d+)')
redis.call('HSET', KEYS[1], 'low_water', low, 'key', key, 'primary', primary, 'reach', reach, 'evicted', evicted)
return {'raised', low, key}
