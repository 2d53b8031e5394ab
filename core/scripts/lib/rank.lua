-- Pending tasks of a priority other than 5 stand in `ranked`, scored
-- (9 - priority) * 2^49 + 2^48 + order of arrival, where the order of tasks put
-- to the front is negative.
local RANK = 562949953421312
local HALF = 281474976710656

local function rank_priority(score)
    return 9 - math.floor(score / RANK)
end
