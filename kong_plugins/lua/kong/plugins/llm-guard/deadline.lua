-- The end of a granted call. Its hold lives a little longer than its deadline, so an answer that went on would
-- be generated for money that is no longer held.

local kong = kong
local ngx = ngx

local deadline = {}


function deadline.at_ms(grant)
  return ngx.now() * 1000 + grant.deadline_ms
end


function deadline.is_over(state, chunk)
  return state.deadline_at_ms and state.from_service and chunk ~= "" and ngx.now() * 1000 >= state.deadline_at_ms
end


-- Never returns. nginx closes the connections to the client and to the provider when a body filter fails;
-- a regular end of the answer would leave the provider's running, and would look complete to the client.
function deadline.end_answer(state)
  state.ended_at_deadline = true
  ngx.arg[1] = nil
  error("llm-guard: the deadline of the request is over, its answer is ended", 0)
end


return deadline
