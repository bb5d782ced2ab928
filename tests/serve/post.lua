-- Sends one image again and again with wrk, stops after a number of answers, and prints one line of JSON.
-- Arguments after `--`: the file of the image, the number of answers, the path.
local left, failed = 0, 0

function init(args)
  local file = assert(io.open(args[1], "rb"))
  wrk.method, wrk.body = "POST", file:read("*a")
  file:close()
  wrk.headers["Content-Type"] = "application/octet-stream"
  wrk.path = args[3]
  left = tonumber(args[2])
end

function response(status)
  left = left - 1
  if status ~= 200 then failed = failed + 1 end
  if left == 0 then wrk.thread:stop() end
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"requests": %d, "seconds": %.3f, "per_second": %.1f, "p50_ms": %.2f, "p95_ms": %.2f, "p99_ms": %.2f, ' ..
    '"not_200": %d, "socket_errors": %d}\n',
    summary.requests, summary.duration / 1e6, summary.requests / (summary.duration / 1e6),
    latency:percentile(50) / 1e3, latency:percentile(95) / 1e3, latency:percentile(99) / 1e3,
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
