local typedefs = require "kong.db.schema.typedefs"

return {
  name = "lua-last",
  fields = {
    { protocols = typedefs.protocols_http },
    { consumer = typedefs.no_consumer },
    { config = {
        type = "record",
        fields = {
          { access = { type = "string" } },
          { header_filter = { type = "string" } },
          { body_filter = { type = "string" } },
          { log = { type = "string" } },
        },
    } },
  },
}
