// OpenAI's Node client at a router's HTTP door: node openai_client.mjs URL TOKEN MODEL
import assert from "node:assert/strict";
import OpenAI from "openai";

const [url, token, model] = process.argv.slice(2);
const client = new OpenAI({ baseURL: url, apiKey: token, maxRetries: 0 });
const asked = { model, messages: [{ role: "user", content: "hello" }] };

const models = await client.models.list();
assert.deepEqual(models.data.map((one) => one.id), [model]);

const headers = { "x-request-id": "whole" };
const { data, response, request_id } = await client.chat.completions
  .create(asked, { headers })
  .withResponse();
assert.equal(request_id, "whole");
assert.equal(response.headers.get("x-driftgate-version"), "1");
const text = data.choices[0].message.content;
assert.ok(text);

const stream = await client.chat.completions.create({
  ...asked,
  stream: true,
  stream_options: { include_usage: true },
});
let streamed = "";
let usage;
for await (const chunk of stream) {
  streamed += chunk.choices[0]?.delta.content ?? "";
  usage = chunk.usage ?? usage;
}
assert.equal(streamed, text);
assert.equal(usage.total_tokens, data.usage.total_tokens);

await assert.rejects(
  client.chat.completions.create({ ...asked, model: "nobody" }),
  (error) => error instanceof OpenAI.NotFoundError && error.code === "model_not_found",
);
await assert.rejects(
  client.chat.completions.create({ ...asked, n: 2 }),
  (error) => error instanceof OpenAI.BadRequestError && error.param === "n",
);
const stranger = new OpenAI({ baseURL: url, apiKey: "somebody-else-0123456789", maxRetries: 0 });
await assert.rejects(stranger.models.list(), OpenAI.AuthenticationError);

// Leaves once something is written.
const left = await client.chat.completions.create({ ...asked, stream: true });
for await (const chunk of left) {
  if (chunk.choices[0].delta.content) break;
}
