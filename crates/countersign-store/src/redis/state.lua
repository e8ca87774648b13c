-- The replication id of this server, which changes when it restarts and when it is promoted; nothing on a replica.
local function primary_id()
    local info = redis.call('INFO', 'replication')
    if not string.find(info, 'role:master', 1, true) then return nil end
    return string.match(info, 'master_replid:(%x+)')
end

-- A whole number that cannot be mistaken for another, or nothing.
local function seconds(text)
    return text and #text <= 15 and string.match(text, '^%d+$') and tonumber(text)
end

