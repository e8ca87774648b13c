-- Charges budgets one after the other, until one has too little left.
--
-- KEYS  what the subject of each budget took
-- ARGV  1 cost, then for each budget the number of its values and these: interval and burst of each quota
--
-- Answers what each budget that was asked has left: see `Charge` in terms.rs.
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
local first, levels = 2, {}
for budget, key in ipairs(KEYS) do
    local last = first + tonumber(ARGV[first])
    levels[budget] = charge(key, first + 1, last, tonumber(ARGV[1]), now)
    if levels[budget][1] == 0 then break end
    first = last + 1
end
return levels
