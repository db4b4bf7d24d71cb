-- Runs the Lua that a test puts into its config, a text for each phase.

local kong = kong
local ngx = ngx

local Plugin = { PRIORITY = 900, VERSION = "1.0.0" }


for _, phase in ipairs({ "access", "header_filter", "body_filter", "log" }) do
  Plugin[phase] = function(_, conf)
    if conf[phase] then
      assert(loadstring(conf[phase], "=" .. phase))(kong, ngx)
    end
  end
end


return Plugin
