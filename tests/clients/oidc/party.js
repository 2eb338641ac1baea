// openid-client, a certified relying party: sign-in by code, user info, refresh, its theft, introspection, revocation,
// a device, a program alone, signing out, a key change. The browser is a few lines: cookies and forms.
import assert from "node:assert/strict";
import * as client from "openid-client";

const { ISSUER, CLIENT, SECRET, EMAIL, PASSWORD } = process.env;
const redirect = "http://127.0.0.1:9/callback";
const server = new URL(ISSUER);
const options = { execute: [client.allowInsecureRequests] };
const config = await client.discovery(server, CLIENT, SECRET, undefined, options);
assert.equal(config.serverMetadata().issuer, ISSUER);

const cookies = new Map();
async function browse(address, form) {
  let at = new URL(address, ISSUER);
  for (;;) {
    const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join("; ");
    const body = form && new URLSearchParams(form);
    const said = await fetch(at, { method: form ? "POST" : "GET", headers: { cookie }, body, redirect: "manual" });
    for (const one of said.headers.getSetCookie()) cookies.set(...one.split(";")[0].split("="));
    const next = said.headers.get("location");
    if (!next) return { text: await said.text(), status: said.status };
    at = new URL(next, at);
    form = undefined;
    if (at.origin !== server.origin) return { url: at };
  }
}
const hidden = (page) =>
  Object.fromEntries(
    [...page.text.matchAll(/<input type="hidden" name="(\w+)" value="([^"]*)">/g)].map((one) => [
      one[1],
      one[2].replaceAll("&amp;", "&").replaceAll("&#34;", '"'),
    ]),
  );

async function signIn() {
  const verifier = client.randomPKCECodeVerifier();
  const [state, nonce] = [client.randomState(), client.randomNonce()];
  const challenge = await client.calculatePKCECodeChallenge(verifier);
  const address = client.buildAuthorizationUrl(config, {
    redirect_uri: redirect, scope: "openid profile email", code_challenge: challenge, code_challenge_method: "S256",
    state, nonce,
  });
  let found = await browse(address);
  if (!found.url) found = await browse("/sign-in", { ...hidden(found), email: EMAIL, password: PASSWORD });
  assert.ok(found.url, found.text);
  return { found, checks: { pkceCodeVerifier: verifier, expectedState: state, expectedNonce: nonce } };
}
async function refused(promise, error) {
  await assert.rejects(promise, (said) => said.error === error || said.code === error || assert.fail(said));
}

// 1 by code; the id token's signature, issuer, audience, nonce and hash are checked by the library
const first = await signIn();
const tokens = await client.authorizationCodeGrant(config, first.found.url, { ...first.checks, idTokenExpected: true });
const claims = tokens.claims();
assert.deepEqual([claims.email, claims.roles, claims.groups], [EMAIL, ["staff"], ["everyone", "sales"]]);
// 2 the code once more
await refused(client.authorizationCodeGrant(config, first.found.url, first.checks), "invalid_grant");

// 3 another sign-in, at once; an answer of somebody else's is noticed
const second = await signIn();
const mixed = new URL(second.found.url);
mixed.searchParams.set("iss", "https://elsewhere.example");
await refused(client.authorizationCodeGrant(config, mixed, second.checks), "OAUTH_INVALID_RESPONSE");
const good = await client.authorizationCodeGrant(config, second.found.url, second.checks);
// 4 who it is
const info = await client.fetchUserInfo(config, good.access_token, claims.sub);
assert.equal(info.preferred_username, claims.preferred_username);
// 5 new tokens, and a stolen one
const fresh = await client.refreshTokenGrant(config, good.refresh_token);
assert.equal(fresh.claims().sub, claims.sub);
assert.equal((await client.tokenIntrospection(config, fresh.access_token)).active, true);
await refused(client.refreshTokenGrant(config, good.refresh_token), "invalid_grant");
assert.equal((await client.tokenIntrospection(config, fresh.access_token)).active, false);
// 6 a token given back
const third = await signIn();
const back = await client.authorizationCodeGrant(config, third.found.url, third.checks);
await client.tokenRevocation(config, back.refresh_token);
assert.equal((await client.tokenIntrospection(config, back.access_token)).active, false);
// 7 the program alone
const alone = await client.clientCredentialsGrant(config);
assert.equal((await client.tokenIntrospection(config, alone.access_token)).active, true);
// 8 a device
const device = await client.initiateDeviceAuthorization(config, { scope: "openid" });
const asked = await browse("/device", { ...hidden(await browse(device.verification_uri_complete)), code: device.user_code });
await browse("/device", { ...hidden(asked), decision: "allow" });
const letIn = await client.pollDeviceAuthorizationGrant(config, { ...device, interval: 0.1 });
assert.equal(letIn.claims().sub, claims.sub);
// 9 signing out, back to the program
const fourth = await signIn();
const last = await client.authorizationCodeGrant(config, fourth.found.url, fourth.checks);
const out = client.buildEndSessionUrl(config, {
  id_token_hint: last.id_token, post_logout_redirect_uri: "http://127.0.0.1:9/bye", state: "bye",
});
assert.equal((await browse(out)).url.href, "http://127.0.0.1:9/bye?state=bye");
assert.equal((await client.tokenIntrospection(config, last.access_token)).active, false);
assert.match((await browse("/")).text, /name="password"/);
console.log("ok");
