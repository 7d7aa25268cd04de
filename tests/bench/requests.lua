-- What wrk sends and what it tells afterwards. One line begins with RESULT, the rest of it is JSON.
-- wrk -s requests.lua URL -- KIND USERS START NONCE KEY
--   KIND   balance   GET /api/tokens of a random user
--          sequence  GET /api/tokens of each user in turn, from number START + 1 on
--          spend     POST /api/ledger/spend of one token of a random user
--          batch     POST /api/ledger/batch of 100 such
--   USERS  numbers of users are 1 to USERS (data.py makes them)
--   NONCE  a number that no other run has: operation ids and the random sequence are made of it
--   KEY    service key
local BATCH = 100
local FORMATTED_MAX = 20000 -- more users than that are not kept as text, which a run pays for

local threads = {}

function setup(thread)
   thread:set("thread_index", #threads)
   threads[#threads + 1] = thread
   for _, other in ipairs(threads) do other:set("thread_count", #threads) end
end

-- The same as USER_ID of data.py. Products stay below 2^53, where doubles are exact.
local function user_id(n)
   return string.format("%08x-0000-4000-8000-%012x", (n * 2654435761) % 4294967296, n)
end

local makers = {}
local users, start, nonce, key, make
sent = 0

function makers.balance(n)
   return wrk.format("GET", "/api/tokens",
                     {Authorization = string.format("Device device_bench_%09d", n)})
end

function makers.spend(n)
   return wrk.format("POST", "/api/ledger/spend", {
      Authorization = "Service " .. key, ["Content-Type"] = "application/json",
   }, '{"userId":"' .. user_id(n) .. '","amount":1}')
end

local function batch()
   local operations = {}
   for i = 1, BATCH do
      operations[i] = string.format(
         '{"operationId":"%s-%d-%d-%d","kind":"spend","userId":"%s","amount":1}',
         nonce, thread_index, sent, i, user_id(math.random(users)))
   end
   return wrk.format("POST", "/api/ledger/batch", {
      Authorization = "Service " .. key, ["Content-Type"] = "application/json",
   }, '{"operations":[' .. table.concat(operations, ",") .. ']}')
end

local function sequence()
   return makers.balance((start + (sent - 1) * thread_count + thread_index) % users + 1)
end

local function of_random_user(maker)
   if users > FORMATTED_MAX then
      return function() return maker(math.random(users)) end
   end
   local formatted = {}
   for n = 1, users do formatted[n] = maker(n) end
   return function() return formatted[math.random(users)] end
end

function init(args)
   local kind = args[1]
   users, start, nonce, key = tonumber(args[2]), tonumber(args[3]), args[4], args[5]
   math.randomseed(tonumber(nonce) * 16 + thread_index)
   if kind == "batch" then make = batch
   elseif kind == "sequence" then make = sequence
   else make = of_random_user(makers[kind]) end
end

function request()
   sent = sent + 1
   return make()
end

function done(summary, latency)
   local most = 0
   for _, thread in ipairs(threads) do most = math.max(most, thread:get("sent")) end
   local errors = summary.errors
   print(string.format(
      'RESULT {"requests":%d,"seconds":%.6f,"p50_ms":%.3f,"p99_ms":%.3f,"p999_ms":%.3f,'
      .. '"positions":%d,"errors":{"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d}}',
      summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3,
      latency:percentile(99) / 1e3, latency:percentile(99.9) / 1e3, most * #threads,
      errors.connect, errors.read, errors.write, errors.status, errors.timeout))
end
