"""What `gcra.py` computes, in the language in which Redis does it at one stroke; a test holds one against the other."""

from __future__ import annotations

SCRIPT = """
local SLACK, MOST_GAPS = 1e-6, 64
local asked = cjson.decode(ARGV[1])
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1e6
local stored = redis.call('GET', KEYS[1])
local lines = stored and cmsgpack.unpack(stored) or {}

-- A line is its end, then the start and the end of each gap, in order.
local function line_of(name)
  lines[name] = lines[name] or {0}
  return lines[name]
end

local function tidy(line)
  while #line > 1 and line[#line] >= line[1] - SLACK do
    table.remove(line)
    line[1] = math.min(line[1], table.remove(line))
  end
  local kept = {line[1]}
  for i = math.max(2, #line - 2 * MOST_GAPS + 1), #line, 2 do
    if line[i + 1] > math.max(now, line[i]) + SLACK then
      kept[#kept + 1] = line[i]
      kept[#kept + 1] = line[i + 1]
    end
  end
  return kept
end

local function free(line, from, to)
  local gaps, found = {{from, to}}, {line[1]}
  for i = 2, #line, 2 do gaps[#gaps + 1] = {line[i], line[i + 1]} end
  table.sort(gaps, function(a, b) return a[1] < b[1] end)
  for _, gap in ipairs(gaps) do
    if #found > 1 and gap[1] <= found[#found] + SLACK then
      found[#found] = math.max(found[#found], gap[2])
    else
      found[#found + 1] = gap[1]
      found[#found + 1] = gap[2]
    end
  end
  return found
end

local function first(line, moment, length)
  for i = 2, #line, 2 do
    local start = math.max(line[i], moment)
    if start + length <= line[i + 1] + SLACK then return start end
  end
  return math.max(line[1], moment)
end

local function take(line, start, length)
  if start >= line[1] then
    line[#line + 1] = math.max(line[1], now)
    line[#line + 1] = start
    line[1] = start + length
    return line
  end
  local found = {line[1]}
  for i = 2, #line, 2 do
    local gap = {line[i], line[i + 1]}
    if start + length > gap[1] and gap[2] > start then gap = {gap[1], start, start + length, gap[2]} end
    for _, moment in ipairs(gap) do found[#found + 1] = moment end
  end
  return found
end

for _, correction in ipairs(asked.corrections) do
  local line = line_of(correction.line)
  if correction.free then
    line = free(line, correction.free[1], correction.free[2])
  else
    line[1] = line[1] + correction.seconds
  end
  lines[correction.line] = tidy(line)
end

local begin, later, starts = now, now, {}
repeat
  begin = later
  for i, rate in ipairs(asked.rates) do
    starts[i] = first(line_of(rate.name), begin, rate.length)
    later = math.max(later, starts[i] - rate.lead)
  end
until later <= begin
local granted = begin - now < asked.longest
if granted then
  for i, rate in ipairs(asked.rates) do
    lines[rate.name] = tidy(take(line_of(rate.name), starts[i], rate.length))
  end
end

local last = now
for _, line in pairs(lines) do last = math.max(last, line[1]) end
redis.call('SET', KEYS[1], cmsgpack.pack(lines), 'PX', string.format('%.0f', math.min(1e15, (last - now) * 1000 + 1000)))
local answer = {granted and 1 or 0, string.format('%.17g', begin - now)}
for _, start in ipairs(starts) do answer[#answer + 1] = string.format('%.17g', start) end
return answer
"""
