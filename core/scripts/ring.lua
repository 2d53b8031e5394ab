-- Passes a ring on that its waiter does not need.
--
-- KEYS 1 bell
-- Returns 1.
-- Moves: none.
--@include lib/bell.lua
ring(KEYS[1])
return 1
