// Makes tokens and has the real @clerk/backend judge them, for tests/support/clerk.py.
// Standard input: one JSON array of commands a line; standard output: one array of results a line.
// One process for all tests of a run, because making one costs more than a thousand tokens.
import { createPrivateKey, createPublicKey, generateKeyPairSync, sign } from "node:crypto";
import { createInterface } from "node:readline";
import { verifyToken } from "@clerk/backend";
import { CompactSign, exportJWK, UnsecuredJWT } from "jose";

const HASHES = { RS256: "sha256", RS384: "sha384", RS512: "sha512" };
const privateKeys = new Map();
const systemNow = Date.now;

const bytes = (value) =>
  new TextEncoder().encode(typeof value === "string" ? value : JSON.stringify(value));

const commands = {
  // A new RSA key, kept under its name: {name, bits} -> {pem, jwk}.
  // Read back from text: Node 20 waits for itself when the job that generated a key is collected
  // while that very key is exported, as jose does (about one run in a hundred).
  async key({ name, bits = 2048 }) {
    const made = generateKeyPairSync("rsa", { modulusLength: bits });
    const text = made.privateKey.export({ type: "pkcs8", format: "pem" });
    const privateKey = createPrivateKey(text);
    const publicKey = createPublicKey(privateKey);
    privateKeys.set(name, privateKey);
    const pem = publicKey.export({ type: "spki", format: "pem" });
    return { pem, jwk: { ...(await exportJWK(publicKey)), kid: name, use: "sig", alg: "RS256" } };
  },

  // As Clerk signs, by jose: {key, header, payload} -> token. header.alg may be any RSA one.
  jose({ key, header, payload }) {
    return new CompactSign(bytes(payload))
      .setProtectedHeader(header)
      .sign(privateKeys.get(key));
  },

  // HMAC with some text as the secret, a public key for instance: {secret, header, payload}.
  hmac({ secret, header, payload }) {
    return new CompactSign(bytes(payload)).setProtectedHeader(header).sign(bytes(secret));
  },

  // alg none, by jose: {payload} -> token.
  unsecured({ payload }) {
    return new UnsecuredJWT(payload).encode();
  },

  // A valid signature over two parts that no library would write: {key, head, body, hash} -> token.
  raw({ key, head, body, hash = "RS256" }) {
    const signed = `${head}.${body}`;
    const signature = sign(HASHES[hash], Buffer.from(signed, "latin1"), privateKeys.get(key));
    return `${signed}.${signature.toString("base64url")}`;
  },

  // What @clerk/backend says at a time in seconds: {token, now, options} -> null or why not.
  async clerk({ token, now, options }) {
    Date.now = () => now * 1000;
    try {
      await verifyToken(token, options);
      return null;
    } catch (error) {
      return String(error.reason ?? error.message);
    } finally {
      Date.now = systemNow;
    }
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const results = [];
  for (const command of JSON.parse(line)) results.push(await commands[command.do](command));
  process.stdout.write(`${JSON.stringify(results)}\n`);
}
