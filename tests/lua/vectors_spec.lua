-- The values that Python and C are held to, too: tests/vectors/values.json.
local reeve = require "reeve"
local util = require "support.util"

local file = assert(io.open(util.tests .. "/vectors/values.json", "rb"))
local vectors = assert(reeve.decode(file:read "*a"))
file:close()

-- What they are in Lua.
local literal = {
  null = reeve.null, ["true"] = true, ["false"] = false, zero = 0, negative = -17, fraction = 0.1,
  exact = 9007199254740992, ["empty-string"] = "", nul = "a\0b", ["utf8-2"] = "Grüße, ÿ",
  escapes = "quote \" backslash \\ slash / tab \t newline \n bell \a", digits = "00123",
  array = { 1, "two", 3.5, false }, ["array-of-null"] = { reeve.null, 1, reeve.null },
  object = { a = 1, b = reeve.null, [""] = "empty key", ["1"] = "digit key", ["é"] = "ü" },
  ["utf8-4"] = "😀 𝄞",
}

describe("values", function()
  it("are all there", function() assert.is_true(#vectors.values >= 27) end)

  for _, vector in ipairs(vectors.values) do
    it("reads and writes " .. vector.name, function()
      local text = assert(reeve.encode(vector.json))
      local again = reeve.decode(text)
      assert.same(vector.json, again)
      assert.equal(#text, #reeve.encode(again)) -- the order of keys is free
      if literal[vector.name] ~= nil then assert.same(literal[vector.name], vector.json) end
      if vector.lua51 and not util.is_54 then assert.equal(vector.lua51, vector.json) end
    end)
  end

  it("tell an empty array from an empty object", function()
    assert.equal("[]", reeve.encode(reeve.array {}))
    assert.equal("{}", reeve.encode {})
    assert.equal('{"list":[]}', reeve.encode(reeve.decode '{"list":[]}'))
    assert.equal('{"map":{}}', reeve.encode(reeve.decode '{"map":{}}'))
  end)

  if util.is_54 then
    it("keep 64 bits", function()
      assert.equal("9223372036854775807", reeve.encode(math.maxinteger))
      assert.equal(math.mininteger, reeve.decode "-9223372036854775808")
      assert.equal("integer", math.type(reeve.decode "9007199254740993"))
      assert.equal("float", math.type(reeve.decode "1.0"))
    end)
  end
end)

describe("bytes", function()
  local app = assert(reeve.new { url = util.memory_url() })
  for _, vector in ipairs(vectors.bytes) do
    it("are stored as they are: " .. vector.name, function()
      local bytes = vector.hex:gsub("..", function(pair) return string.char(tonumber(pair, 16)) end)
      assert(app:enqueue("raw", bytes, { raw = true, id = vector.name }))
      assert.equal(bytes, app:inspector():find("default", vector.name).body)
    end)
  end
end)
