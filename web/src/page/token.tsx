/** The question for the token of a server, which a browser then keeps as a cookie. */

import { useSignal } from "@preact/signals";
import { render } from "preact";
import { useEffect, useRef } from "preact/hooks";

import { text } from "./common.js";
import { addressOf, call, ServerError } from "./endpoints.js";

const wantsToken = (error: unknown) => error instanceof ServerError && error.code === "no_token";

/** Use endpoints. If the server wants its token, ask for it first. */
export async function withToken<T>(use: () => Promise<T>): Promise<T> {
  try {
    return await use();
  } catch (error) {
    if (!wantsToken(error)) throw error;
    await askForToken();
    return use();
  }
}

/** Ask for the token until the server accepts it. */
async function askForToken() {
  const dialog = document.createElement("dialog");
  dialog.className = "phone-dialog";
  dialog.setAttribute("aria-labelledby", "token-title");
  document.body.append(dialog);
  await new Promise<void>((resolve) => {
    dialog.oncancel = (event) => event.preventDefault(); // nothing works without it
    render(<Question onAccepted={resolve} />, dialog);
    dialog.showModal();
  });
  dialog.close();
  dialog.remove();
}

function Question({ onAccepted }: { onAccepted: () => void }) {
  const field = useRef<HTMLInputElement>(null);
  const problem = useSignal("");
  useEffect(() => field.current?.focus(), []);
  async function check() {
    const token = field.current?.value.trim() ?? "";
    try {
      await call(addressOf("/v1/token"), token, { method: "POST" });
      onAccepted();
    } catch (error) {
      problem.value = wantsToken(error) ? "token.wrong" : "error.gone";
      field.current?.select();
    }
  }
  return (
    <form
      class="token-form"
      onSubmit={(event) => {
        event.preventDefault();
        void check();
      }}
    >
      <h2 id="token-title">{text("token.title")}</h2>
      <p class="hint" id="token-hint">
        {text("token.hint")}
      </p>
      <label for="token">{text("token")}</label>
      <input
        ref={field}
        id="token"
        type="password"
        autoComplete="current-password"
        required
        aria-describedby="token-hint token-problem"
      />
      <p id="token-problem" class="wrong" role="alert">
        {problem.value && text(problem.value)}
      </p>
      <button id="token-send" class="button primary">
        {text("token.send")}
      </button>
    </form>
  );
}
