-- Keeps when each quota of a subject is full again, in microseconds, as long as one is not.
local function keep(key, times, now)
    local latest, texts = now, {}
    for at, time in ipairs(times) do
        latest = math.max(latest, time)
        texts[at] = string.format('%.0f', time)
    end
    -- Counted from the start of this millisecond, so there is one more.
    redis.call('SET', key, table.concat(texts, ' '), 'PX', math.ceil((latest - now) / 1000) + 1)
end

-- Charges all quotas whose interval and burst are in ARGV from `first` to `last`, or none: gcra.rs, in microseconds.
--
-- Answers {1, quota, remaining, reset} of the quota that has least left, or {0, quota, remaining, reset, retry after} of
-- the one that takes longest.
local function charge(key, first, last, cost, now)
    local kept = {}
    for time in string.gmatch(redis.call('GET', key) or '', '%d+') do kept[#kept + 1] = tonumber(time) end
    local before, after, least, longest, stepped_back = {}, {}, nil, nil, false
    for at = first, last, 2 do
        local interval, burst = tonumber(ARGV[at]), tonumber(ARGV[at + 1])
        local quota, tolerance = (at - first) / 2, interval * burst
        local full_at = kept[quota + 1] or 0
        -- A charge brings it no further ahead than that: the clock has stepped back.
        if full_at > now + tolerance then full_at, stepped_back = now + tolerance, true end
        before[quota + 1] = full_at
        after[quota + 1] = math.max(full_at, now) + interval * math.min(cost, burst)
        local too_much = after[quota + 1] - (now + tolerance)
        local reset = (too_much > 0 and math.max(full_at, now) or after[quota + 1]) - now
        local remaining = math.floor((tolerance - reset) / interval)
        if too_much > 0 then
            if not longest or too_much > longest[5] then longest = {0, quota, remaining, reset, too_much} end
        elseif not least or remaining < least[3] then
            least = {1, quota, remaining, reset}
        end
    end
    if not longest then
        keep(key, after, now)
    elseif stepped_back then
        keep(key, before, now)
    end
    return longest or least
end

