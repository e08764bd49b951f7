// Calls exported functions for the tests: one JSON request a line, one JSON answer a line.
//
// A request is a value.  Beside those of JSON, a value can be a typed array,
// {$array: "Float32Array", $bytes: base64}, or what a function gives,
// {$module: address, $call: name, $args: values, $get: key or null}.
import { createInterface } from "node:readline";

function arrayOf(kind, text) {
  const bytes = Uint8Array.from(Buffer.from(text, "base64"));
  return new globalThis[kind](bytes.buffer);
}

async function evaluate(value) {
  if (value === null || typeof value !== "object") return value;
  if (Array.isArray(value)) return Promise.all(value.map(evaluate));
  if ("$array" in value) return arrayOf(value.$array, value.$bytes);
  if ("$call" in value) {
    const [module, args] = [await import(value.$module), await evaluate(value.$args)];
    const found = module[value.$call](...args);
    return value.$get === null ? found : found[value.$get];
  }
  const entries = Object.entries(value).map(async ([key, x]) => [key, await evaluate(x)]);
  return Object.fromEntries(await Promise.all(entries));
}

/** As JSON; typed arrays in the form of requests. */
function asText(answer) {
  return JSON.stringify(answer, (_, x) => {
    if (!ArrayBuffer.isView(x)) return x;
    const bytes = Buffer.from(x.buffer, x.byteOffset, x.byteLength);
    return { $array: x.constructor.name, $bytes: bytes.toString("base64") };
  });
}

for await (const line of createInterface({ input: process.stdin })) {
  let answer;
  try {
    answer = { result: await evaluate(JSON.parse(line)) };
  } catch ({ name, reason, message }) {
    answer = { error: { name, reason, message } };
  }
  process.stdout.write(`${asText(answer)}\n`);
}
