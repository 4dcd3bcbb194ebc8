-- What Envoy does with each request: read what is in force, choose a slot, and see when it is answered.
--
-- What is in force comes with the routes, as metadata of the virtual host: the line of the route file, then our
-- token, the override header, and the kind and the name of stickiness, one a line. The constants stand above;
-- where COPIES is true, requests are copies that the canary gets.

local bit = require("bit")
local band, bxor, rshift, tobit = bit.band, bit.bxor, bit.rshift, bit.tobit
local SPACE = 4294967296
local HEX = string.rep("%x", 8) .. string.rep("%-" .. string.rep("%x", 4), 3) .. "%-" .. string.rep("%x", 12)
local UUID = "^" .. HEX:gsub("%%x", "[0-9a-f]") .. "$"

-- Each worker has a Lua of its own, whose chance would otherwise be the same in all of them.
do
  local source = assert(io.open("/dev/urandom", "rb"))
  local number = 0
  for _, each in ipairs({source:read(6):byte(1, 6)}) do
    number = number * 256 + each
  end
  source:close()
  math.randomseed(number)
end

local WORKER = string.format("%08x%08x", math.random(0, SPACE - 1), math.random(0, SPACE - 1))
local NOTHING = {line = "nothing", token = "", share = 0, basis = 0, stable = "blue", canary = "green", count = {blue = 0, green = 0}}
local heard, known = nil, NOTHING

local function understood(told)
  local line, token, override, kind, name = told:match("^([^\n]*)\n([^\n]*)\n([^\n]*)\n([^\n]*)\n([^\n]*)$")
  local share, basis, stable, blue, green = line:match("^%S+ t=(%d+) k=(%d+) s=(%a+) blue=(%d+):[^;]*; green=(%d+):")
  return {
    line = line, token = token, override = override:lower(), kind = kind, name = kind == "header" and name:lower() or name,
    share = tonumber(share), basis = tonumber(basis), stable = stable, canary = stable == "blue" and "green" or "blue",
    count = {blue = tonumber(blue), green = tonumber(green)},
  }
end

-- What is in force for this request.
local function current(handle)
  local told = handle:virtualHost():metadata():get("told")
  if told ~= heard then
    heard, known = told, told == nil and NOTHING or understood(told)
  end
  return known
end

-- a * b modulo 2^32, for 32-bit numbers: a product of two of them is too long for a double.
local function times(a, b)
  return tobit(band(a, 0xffff) * b + band(rshift(a, 16) * b, 0xffff) * 65536)
end

-- The number of buckets.py: FNV-1a from a salted basis, mixed by fmix32.
local function bucket(user, basis)
  local codes = {}
  for place = 1, #user do
    local byte = user:byte(place)
    if byte >= 32 and byte <= 126 then
      codes[#codes + 1] = byte
    elseif byte < 128 or byte >= 192 then -- the first byte of any other character; the rest of it is passed over
      codes[#codes + 1] = FOREIGN
    end
  end
  local h, half = tobit(basis), LONGEST / 2
  for place = 1, math.min(#codes, LONGEST) do
    local code = codes[place]
    if #codes > LONGEST and place > half then
      code = codes[#codes - LONGEST + place]
    end
    h = times(bxor(h, code), FNV_PRIME)
  end
  h = times(bxor(h, rshift(h, 16)), MIX_1)
  h = times(bxor(h, rshift(h, 13)), MIX_2)
  return bxor(h, rshift(h, 16)) % SPACE
end

local function cookie(headers, name)
  for place = 0, headers:getNumValues("cookie") - 1 do
    for pair in headers:getAtIndex("cookie", place):gmatch("[^;]+") do
      local key, found = pair:match("^%s*([^=]-)%s*=%s*(.-)%s*$")
      if key == name then
        return found:match('^"(.*)"$') or found
      end
    end
  end
  return ""
end

local function fresh()
  local digits = {}
  for place = 1, 4 do
    digits[place] = string.format("%08x", math.random(0, SPACE - 1))
  end
  local id = table.concat(digits)
  return table.concat({id:sub(1, 8), id:sub(9, 12), "4" .. id:sub(14, 16), "8" .. id:sub(18, 20), id:sub(21)}, "-")
end

-- The id of who is asking, empty for nobody in particular; and the bucket cookie that a new visitor is given.
local function identified(headers, now)
  if now.kind == "" or now.kind == nil then
    return ""
  elseif now.kind == "header" then
    return headers:get(now.name) or ""
  end
  local found = cookie(headers, now.name)
  if now.kind == "user_cookie" or found:find(UUID) then
    return found
  end
  local id = fresh()
  return id, now.name .. "=" .. id .. "; Path=/; Max-Age=" .. COOKIE_AGE .. "; HttpOnly; SameSite=Lax"
end

-- The slot that serves this request.
local function slot_of(headers, now, user)
  local wish = now.override and headers:get(now.override)
  if wish == "never" then
    return now.stable
  elseif wish == "always" then
    return now.count[now.canary] == 0 and now.stable or now.canary
  elseif now.share == 0 or now.share == SPACE then
    return now.share == 0 and "blue" or "green"
  end
  local place = user == "" and math.random() * SPACE or bucket(user, now.basis)
  return place < now.share and "green" or "blue"
end

-- What a proxy in front on this machine says of the visitor is passed on; from others it is replaced.
local function introduce(handle, headers)
  local who = handle:streamInfo():downstreamDirectRemoteAddress()
  who = who:gsub(":%d+$", ""):gsub("[%[%]]", "")
  local host = headers:get(":authority") or ""
  if who:find("^127%.") or who == "::1" then
    local before = headers:get("x-forwarded-for")
    headers:replace("x-forwarded-for", before and before ~= "" and before .. ", " .. who or who)
    if headers:get("x-forwarded-host") == nil then
      headers:replace("x-forwarded-host", host)
    end
  else
    headers:replace("x-forwarded-for", who)
    headers:replace("x-forwarded-host", host)
    headers:replace("x-forwarded-proto", "http")
  end
end

local function copied(handle, headers, now)
  if now.count[now.canary] == 0 then -- it has just gone
    handle:respond({[":status"] = "503"}, "")
    return
  end
  local kept = handle:streamInfo():dynamicMetadata()
  kept:set("crossfade", "arm", now.canary)
  kept:set("crossfade", "began", tonumber(handle:timestampString(EnvoyTimestampResolution.MICROSECOND)))
  local introduced = (headers:get("x-forwarded-for") or ""):match("^(.*),[^,]*$")
  if introduced then -- Envoy has added itself to what was said of the visitor
    headers:replace("x-forwarded-for", introduced)
  end
  headers:replace(COPY_HEADER, "true")
  headers:replace(SLOT_HEADER, now.canary)
  handle:clearRouteCache()
end

function envoy_on_request(handle)
  local headers, now = handle:headers(), current(handle)
  if COPIES then
    copied(handle, headers, now)
    return
  end
  local user, given = identified(headers, now)
  local slot = slot_of(headers, now, user)
  if now.token ~= "" and headers:get(PROBE_HEADER) == now.token then
    handle:respond({[":status"] = "200", [SLOT_HEADER] = slot, [WORKER_HEADER] = WORKER}, now.line)
    return
  end
  local kept = handle:streamInfo():dynamicMetadata()
  if now ~= NOTHING then -- whoever comes where nothing is in force is no version's visitor
    kept:set("crossfade", "arm", slot)
  end
  if now.count[slot] == 0 then
    handle:respond({
      [":status"] = "503", ["x-crossfade"] = "no-version", ["retry-after"] = "1",
      ["cache-control"] = "no-store", ["content-type"] = "text/plain",
    }, "No version of this service is running.\n")
    return
  end
  kept:set("crossfade", "began", tonumber(handle:timestampString(EnvoyTimestampResolution.MICROSECOND)))
  if given then
    kept:set("crossfade", "cookie", given)
  end
  introduce(handle, headers)
  headers:remove(COPY_HEADER)
  headers:replace(SLOT_HEADER, slot)
  handle:clearRouteCache()
end

-- The bin of tally.py that a latency falls into.
local function bin_of(ms)
  local low, high = 1, #BOUNDS + 1
  while low < high do
    local middle = math.floor((low + high) / 2)
    if BOUNDS[middle] < ms then
      low = middle + 1
    else
      high = middle
    end
  end
  return low - 1
end

-- Called when an answer begins, the instance's or Envoy's own: its class and its bin go to the count.
function envoy_on_response(handle)
  local kept = handle:streamInfo():dynamicMetadata()
  local known = kept:get("crossfade")
  if known == nil or known.arm == nil then
    return
  end
  local headers = handle:headers()
  local status, bin = headers:get(":status"), "-"
  if status ~= "101" and status ~= "499" then -- as the counter treats them: they have no latency of their own
    local now = tonumber(handle:timestampString(EnvoyTimestampResolution.MICROSECOND))
    bin = bin_of((now - (known.began or now)) / 1000)
  end
  kept:set("crossfade", "seen", status:sub(1, 1) .. "xx_" .. bin)
  if known.cookie ~= nil then
    headers:add("set-cookie", known.cookie)
  end
end
