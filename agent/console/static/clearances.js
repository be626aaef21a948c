// A document's hash, computed here: the document itself goes nowhere.
"use strict";
for (const field of document.querySelectorAll("input[data-hash-into]")) {
  if (!window.crypto?.subtle) continue; // only over TLS and on this machine; elsewhere the form is sent
  field.form.querySelector("button").hidden = true;
  field.addEventListener("change", async () => {
    const file = field.files[0];
    if (!file) return;
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", await file.arrayBuffer()));
    document.getElementById(field.dataset.hashInto).value = [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    field.form.querySelector("[data-hashed]").hidden = false;
  });
}
