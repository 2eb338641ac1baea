// OpenAI's client for Node: an answer, a stream, a tool, responses, vectors, an error.
import assert from "node:assert/strict";
import OpenAI from "openai";

const client = new OpenAI({ baseURL: process.env.APPLIANCE_URL, apiKey: process.env.APPLIANCE_KEY, maxRetries: 0 });
const messages = [{ role: "system", content: "Be brief." }, { role: "user", content: "Count from one to five." }];
const fixed = { model: "chat", temperature: 0, max_tokens: 40, messages };

const said = await client.chat.completions.create(fixed);
assert.ok(said.choices[0].message.content);
assert.ok(said.usage.completion_tokens > 0);

const stream = client.chat.completions.stream({ ...fixed, stream_options: { include_usage: true } });
const final = await stream.finalChatCompletion();
assert.equal(final.choices[0].message.content, said.choices[0].message.content);
assert.equal(final.usage.completion_tokens, said.usage.completion_tokens);

const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const called = await client.chat.completions.create({
  ...fixed,
  messages: JSON.parse(process.env.APPLIANCE_CALLS),
  tools: [{ type: "function", function: { name: "weather", parameters } }],
  tool_choice: { type: "function", function: { name: "weather" } },
});
const call = called.choices[0].message.tool_calls[0].function;
assert.equal(call.name, "weather");
assert.ok("city" in JSON.parse(call.arguments));

const response = await client.responses.create({ model: "chat", input: "Say hello.", max_output_tokens: 12 });
assert.ok(response.output_text);

const vectors = await client.embeddings.create({ model: "embed", input: ["a bill", "a cat"] });
assert.deepEqual(vectors.data.map((one) => one.embedding.length), [384, 384]);

assert.ok((await client.models.list()).data.some((one) => one.id === "chat"));

await assert.rejects(client.chat.completions.create({ ...fixed, model: "nobody" }), (error) => {
  assert.equal(error.status, 404);
  assert.equal(error.code, "model-not-found");
  return true;
});
// A reader who leaves in mid-answer.
const left = await client.chat.completions.create({ ...fixed, max_tokens: 900, stream: true });
for await (const _ of left) break;
