/** Shows addresses for other devices as QR codes, and the requirements of their cameras. */

import { call, thisServer } from "./endpoints.js";
import { onLanguage, text } from "./i18n.js";

const find = (/** @type {string} */ id) => /** @type {any} */ (document.getElementById(id));

/** @param {(error: unknown) => void} failed */
export function wirePhone(failed) {
  /** @type {Record<string, any> | null} */ let found = null;
  const show = () => {
    if (!found) return;
    const { https, addresses, fingerprint } = found;
    find("phone-addresses").replaceChildren(...addresses.map(item));
    find("phone-words").textContent = text(!addresses.length ? "phone.none" : https ? "phone.https" : "phone.http");
    find("phone-fingerprint").textContent = addresses.length && fingerprint ? `SHA-256 ${fingerprint}` : "";
  };
  find("phone").onclick = async () => {
    try {
      found = await call(new URL("/v1/addresses", thisServer));
    } catch (error) {
      return failed(error);
    }
    show();
    find("phone-dialog").showModal();
  };
  onLanguage(show);
}

/** @param {{url: string, qr: string | null}} address */
function item({ url, qr }) {
  const node = document.createElement("li");
  if (qr) node.append(Object.assign(document.createElement("img"), { src: qr, alt: text("phone.qr", { url }) }));
  node.append(Object.assign(document.createElement("a"), { href: url, textContent: url }));
  return node;
}
