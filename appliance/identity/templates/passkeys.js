// Asks the browser for a passkey, and sends what it says with the form that is there for it. The form shows itself only
// where the browser can; all else on the pages works without this file.
"use strict";

const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (one) => one.charCodeAt(0));

const text = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");

const credentials = (list) => (list || []).map((one) => ({ ...one, id: bytes(one.id) }));

// With a user in it a new passkey is wanted, else one that is there.
async function ask(options) {
  const wanted = { ...options, challenge: bytes(options.challenge) };
  if (!options.user) {
    return navigator.credentials.get({ publicKey: wanted });
  }
  wanted.user = { ...options.user, id: bytes(options.user.id) };
  wanted.excludeCredentials = credentials(options.excludeCredentials);
  return navigator.credentials.create({ publicKey: wanted });
}

function written(found) {
  const response = { clientDataJSON: text(found.response.clientDataJSON) };
  for (const name of ["attestationObject", "authenticatorData", "signature", "userHandle"]) {
    if (found.response[name]) {
      response[name] = text(found.response[name]);
    }
  }
  return JSON.stringify({ id: found.id, rawId: text(found.rawId), type: found.type, response });
}

for (const form of document.querySelectorAll("form[data-passkey]")) {
  if (!window.PublicKeyCredential) {
    continue;
  }
  form.hidden = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const problem = form.querySelector(".problem");
    problem.hidden = true;
    try {
      form.elements.credential.value = written(await ask(JSON.parse(form.dataset.passkey)));
    } catch {
      problem.hidden = false;
      return;
    }
    form.submit();
  });
}
