#!lua
-- The one function that changes the published list. It checks everything before its first write, because neither a
-- script nor MULTI is rolled back. The shebang without flags makes the server refuse it whole, before it
-- starts, when memory is full or the server is a read-only replica.
--
-- KEYS  head entries numbers prefixes changes fresh:entries fresh:numbers fresh:prefixes
-- ARGV  operation, fence, then:
--   claim
--   publish  epoch n expected_n digest at_ms stream_length  (subject stack blocks)...
--   stage    (subject stack blocks)...
--   swap     epoch n digest at_ms entries numbers prefixes
--   confirm  epoch n digest
-- Returns {outcome, detail}: applied | already | fenced (detail: the fence in force) | gap (detail: what stands there)

local head, entries, numbers, prefixes, changes = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local fresh_entries, fresh_numbers, fresh_prefixes = KEYS[6], KEYS[7], KEYS[8]
local operation, fence = ARGV[1], ARGV[2]

local function is_a(key, wanted)
  local found = redis.call('TYPE', key)['ok']
  return found == 'none' or found == wanted
end

-- A head of another type was put there by a stranger: only `swap` and `claim` may remove it.
local sane_head = is_a(head, 'hash')

local function current()
  if not sane_head then return false, false, false end
  return unpack(redis.call('HMGET', head, 'epoch', 'n', 'digest'))
end

local function standing()
  local epoch, n, digest = current()
  if not epoch then return 'nothing' end
  return epoch .. '.' .. tostring(n) .. ' ' .. tostring(digest)
end

local function put(first, to_entries, to_numbers, to_prefixes)
  for i = first, #ARGV, 3 do
    local subject, stack, blocks = ARGV[i], ARGV[i + 1], ARGV[i + 2]
    if stack == '' then
      redis.call('HDEL', to_entries, subject)
    else
      redis.call('HSET', to_entries, subject, stack)
    end
    local set = to_numbers
    if string.sub(subject, -1) == '*' then set = to_prefixes end
    local digits = string.gsub(subject, '[+*]', '')
    redis.call(blocks == '1' and 'SADD' or 'SREM', set, digits)
  end
end

local function write_head(epoch, n, digest, at_ms)
  redis.call('HSET', head, 'epoch', epoch, 'n', n, 'digest', digest, 'at_ms', at_ms, 'fence', fence,
    'entries', redis.call('HLEN', entries), 'numbers', redis.call('SCARD', numbers),
    'prefixes', redis.call('SCARD', prefixes))
end

if sane_head then
  local held = redis.call('HGET', head, 'fence')
  if held and (tonumber(held) or 0) > tonumber(fence) then return {'fenced', held} end
end

if operation == 'claim' then
  if not sane_head then redis.call('UNLINK', head) end
  redis.call('HSET', head, 'fence', fence)
  return {'applied', standing()}
end

if operation == 'publish' then
  local epoch, n, expected, digest, at_ms, length = unpack(ARGV, 3, 8)
  local held_epoch, held_n, held_digest = current()
  if not held_epoch or held_epoch ~= epoch then return {'gap', standing()} end
  if held_n == n and held_digest == digest then return {'already', standing()} end
  if held_n ~= expected then return {'gap', standing()} end
  if not (is_a(entries, 'hash') and is_a(numbers, 'set') and is_a(prefixes, 'set') and is_a(changes, 'stream')) then
    return {'gap', 'a key of another type'}
  end
  local lines = {}
  for i = 9, #ARGV, 3 do lines[#lines + 1] = ARGV[i] .. '\t' .. ARGV[i + 1] end
  -- First, since it alone can fail still: the stream may have seen a later id.
  local added = redis.pcall('XADD', changes, 'MAXLEN', '~', length, epoch .. '-' .. n,
    'digest', digest, 'at_ms', at_ms, 'changes', table.concat(lines, '\n'))
  if type(added) == 'table' and added['err'] then return {'gap', 'a change stream that is ahead'} end
  put(9, entries, numbers, prefixes)
  write_head(epoch, n, digest, at_ms)
  return {'applied', standing()}
end

if operation == 'stage' then
  put(3, fresh_entries, fresh_numbers, fresh_prefixes)
  return {'applied', ''}
end

if operation == 'swap' then
  local epoch, n, digest, at_ms, want_entries, want_numbers, want_prefixes = unpack(ARGV, 3, 9)
  if redis.call('HLEN', fresh_entries) ~= tonumber(want_entries)
    or redis.call('SCARD', fresh_numbers) ~= tonumber(want_numbers)
    or redis.call('SCARD', fresh_prefixes) ~= tonumber(want_prefixes) then
    return {'gap', 'a fresh list that is not whole'}
  end
  local pairs_of = {{fresh_entries, entries}, {fresh_numbers, numbers}, {fresh_prefixes, prefixes}}
  for _, pair in ipairs(pairs_of) do
    redis.call('UNLINK', pair[2])
    if redis.call('EXISTS', pair[1]) == 1 then redis.call('RENAME', pair[1], pair[2]) end
  end
  redis.call('UNLINK', changes, head)
  redis.call('XADD', changes, epoch .. '-' .. n, 'digest', digest, 'at_ms', at_ms, 'snapshot', '1')
  write_head(epoch, n, digest, at_ms)
  redis.call('HSET', head, 'verified', epoch .. '.' .. n)
  return {'applied', standing()}
end

if operation == 'confirm' then
  local epoch, n, digest = unpack(ARGV, 3, 5)
  local held_epoch, held_n, held_digest = current()
  if held_epoch ~= epoch or held_n ~= n or held_digest ~= digest then return {'gap', standing()} end
  redis.call('HSET', head, 'verified', epoch .. '.' .. n)
  return {'applied', standing()}
end

return redis.error_reply('unknown operation ' .. operation)
