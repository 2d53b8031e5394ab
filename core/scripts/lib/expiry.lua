-- Scores end in the task's priority, so that a move needs no envelope:
-- due_at_ms * 10 + priority, expires_at_ms * 10 + priority. What is kept for
-- ever (retention -1) counts from 1e15 on and so keeps its order of age.
local FOR_EVER = 1e15

local function expiry_score(now, retention, priority)
    if retention < 0 then
        return FOR_EVER + now * 10 + priority
    end
    return (now + retention) * 10 + priority
end
