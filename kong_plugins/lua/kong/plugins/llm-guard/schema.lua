-- The guard's configuration: the wire format in which it refuses, and whether it does. It is never bound to a consumer,
-- because who is calling is what Bursar decides.

local typedefs = require "kong.db.schema.typedefs"

return {
  name = "llm-guard",
  fields = {
    { protocols = typedefs.protocols_http },
    { consumer = typedefs.no_consumer },
    { config = {
        type = "record",
        fields = {
          { protocol = {
              description = "The wire format of the route, in which refusals are written.",
              type = "string",
              required = true,
              one_of = {
                "openai_chat",
                "openai_responses",
                "openai_embeddings",
                "openai_completions",
                "openai_images",
                "openai_speech",
                "openai_transcriptions",
                "anthropic_messages",
                "bedrock_converse",
                "bedrock_invoke",
                "gemini",
                "cohere_chat",
                "ollama_chat",
              },
          } },
          { mode = {
              description = "Whether calls without a grant are refused, or only looked at.",
              type = "string",
              default = "enforce",
              one_of = { "enforce", "observe" },
          } },
        },
    } },
  },
}
