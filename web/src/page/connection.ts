/** A stream to the server, see docs/http-api.md. It reconnects automatically. */

import type { Frame, FrameEvent, Motion } from "./kinds.js";
import { ServerError, below, call, frameMessage, thisServer } from "./endpoints.js";

export type DetectorOptions = { kind: string; [option: string]: unknown };
type Configuration = {
  detectors?: DetectorOptions[];
  measures?: boolean;
  control?: string | null;
  gestures_file?: string | null;
  anonymise?: string | null;
};
/** `idle`: closed because no images were sent */
type State = "connecting" | "loading" | "ready" | "waiting" | "idle" | "closed";
export type Answer = Frame & { type: "frame" };
/** motions and events that end with a stream */
export type Ended = { motions: Motion[]; events: FrameEvent[] };
/** a message of the server */
type Message =
  | Answer
  | (Ended & { type: "finished" })
  | (Record<string, unknown> & { type: "loading" | "ready" })
  | { type: "error"; code: string; message: string; frame?: number | null };

const FIRST_RETRY_S = 0.5;
const LONGEST_RETRY_S = 8;
const REFUSED = 1008; // wrong origin, token or message: a retry would fail
const TOO_LARGE = 1009;
const FULL = 1013;
const IDLE = 4408;

const closed = () => new ServerError("closed", "The connection is closed.");

/** Has a state. Event: "state", with its data in `detail`. */
export class WithState extends EventTarget {
  state: State = "closed";

  protected become(state: State, more: object = {}) {
    this.state = state;
    this.dispatchEvent(new CustomEvent("state", { detail: { ...more, state } }));
  }
}

/**
 * A stream of images; see docs/http-api.md. Events: "state" and "error", with their data in
 * `detail`.
 */
export class Connection extends WithState {
  #socket: WebSocket | null = null;
  #url;
  #token;
  #requested: Configuration;
  /** last configuration that the server accepted */
  #accepted: Configuration | null = null;
  /** in order of sending */
  #pending: { configuration: Configuration; resolve: Function; reject: Function }[] = [];
  /** in order of sending */
  #frames: Map<number, { resolve: Function; reject: Function }> = new Map();
  /** in order of the requests */
  #finishing: { resolve: (ended: Ended) => void; reject: (reason: ServerError) => void }[] = [];
  #opening: PromiseWithResolvers<object> | null = null;
  #next = 0;
  #failures = 0;
  #isClosed = false;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor({
    url = thisServer,
    token,
    detectors = [],
    measures = false,
    control = null,
    gestures_file = null,
    anonymise = null,
  }: Configuration & { url?: string; token?: string | null } = {}) {
    super();
    this.#url = url;
    this.#token = token ?? null;
    this.#requested = {
      detectors,
      measures,
      ...(control === null ? {} : { control }),
      ...(gestures_file === null ? {} : { gestures_file }),
      ...(anonymise === null ? {} : { anonymise }),
    };
  }

  /** Number of images without an answer. */
  get inFlight() {
    return this.#frames.size;
  }

  /**
   * Connect and stay connected until `close()`.
   *
   * @returns the "ready" message; the promise waits until a server is available
   * @throws {ServerError} if the server refuses, or after `close()`
   */
  open(): Promise<object> {
    if (this.#isClosed) return Promise.reject(closed());
    if (!this.#opening) {
      this.#expect();
      this.#connect();
    }
    return this.#opening?.promise as Promise<object>;
  }

  /**
   * Change detectors or measures. Omitted members do not change. Without a connection the change
   * applies to the next one.
   *
   * @returns the "ready" message
   * @throws {ServerError} if the server refuses; the stream then continues unchanged
   */
  configure(configuration: Configuration): Promise<object> {
    this.#requested = { ...this.#requested, ...configuration };
    return this.#isOpen() ? this.#ask(this.#requested) : this.open();
  }

  /** Forget all tracked instances. */
  reset() {
    if (this.#isOpen()) this.#socket?.send(JSON.stringify({ type: "reset" }));
  }

  /**
   * Return the motions and events that end with the stream, after all images sent so far.
   *
   * @throws {ServerError} if the server is not available
   */
  finish(): Promise<Ended> {
    if (!this.#isOpen()) return Promise.resolve({ motions: [], events: [] });
    const { promise, resolve, reject } = Promise.withResolvers<Ended>();
    this.#finishing.push({ resolve, reject });
    this.#socket?.send(JSON.stringify({ type: "finish" }));
    return promise;
  }

  /** Close the connection and reject all pending promises. */
  close() {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    const socket = this.#socket;
    this.#socket = null;
    socket?.close(1000);
    this.#end(closed());
  }

  /**
   * Send an image.
   *
   * @param image encoded, with its `time` in seconds
   * @returns the server's "frame" message
   * @throws {ServerError} "dropped" if the server processed a newer image instead, "gone" if it is
   *   not available
   */
  async send({ blob, time }: { blob: Blob; time: number }): Promise<Answer> {
    if (this.state === "idle") await this.open();
    const socket = this.#socket;
    if (!this.#isOpen() || !socket) {
      throw new ServerError(
        this.state === "closed" ? "closed" : "gone",
        "No connection is open: wait for the state ready.",
      );
    }
    const frame = this.#next;
    this.#next = (frame + 1) % 2 ** 32;
    socket.send(frameMessage(frame, time, blob));
    return new Promise((resolve, reject) => this.#frames.set(frame, { resolve, reject }));
  }

  #isOpen() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  /** Let `open()` wait for the next "ready". */
  #expect() {
    const last = this.#opening;
    this.#opening = Promise.withResolvers();
    // avoid an unhandled rejection
    this.#opening.promise.then(last?.resolve, last?.reject ?? (() => {}));
  }

  #connect() {
    this.become("connecting");
    const address = below(this.#url.replace(/^http/, "ws"), "v1/stream");
    const encoded =
      this.#token && btoa(this.#token).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
    const socket = new WebSocket(address, encoded ? ["sonjit", `sonjit.token.${encoded}`] : []);
    this.#socket = socket;
    let opened = false;
    socket.onopen = () => {
      opened = true;
      this.#ask(this.#requested).then(
        (ready) => this.#opening?.resolve(ready),
        (error) => error.code === "gone" || this.#opening?.reject(error),
      );
    };
    socket.onmessage = ({ data }) => this.#socket === socket && this.#receive(JSON.parse(data));
    socket.onclose = (event) => this.#socket === socket && this.#lost(event, opened);
  }

  #ask(configuration: Configuration): Promise<object> {
    const { promise, resolve, reject } = Promise.withResolvers<object>();
    this.#pending.push({ configuration, resolve, reject });
    this.#socket?.send(JSON.stringify({ type: "configure", ...configuration }));
    return promise;
  }

  #receive(message: Message) {
    if (message.type === "frame") this.#take(message.frame)?.resolve(message);
    else if (message.type === "finished") this.#finishing.shift()?.resolve(message);
    else if (message.type === "loading") this.become("loading", message);
    else if (message.type === "ready") this.#ready(message);
    else if (message.type === "error") this.#failed(message);
  }

  /**
   * Remove a pending frame and return it. Frames before it were dropped, because answers arrive in
   * order.
   */
  #take(number: number) {
    for (const [frame, waiting] of this.#frames) {
      this.#frames.delete(frame);
      if (frame === number) return waiting;
      waiting.reject(new ServerError("dropped", "The server processed a newer image instead."));
    }
    return undefined;
  }

  #ready(message: object) {
    const pending = this.#pending.shift();
    this.#failures = 0;
    if (pending) this.#accepted = pending.configuration;
    if (!this.#pending.length) this.become("ready", message);
    pending?.resolve(message);
  }

  #failed({ code, message, frame }: Extract<Message, { type: "error" }>) {
    const error = new ServerError(code, message);
    if (frame === undefined || frame === null) {
      this.#pending.shift()?.reject(error);
      this.#requested = this.#pending.at(-1)?.configuration ?? this.#accepted ?? this.#requested;
      if (this.#accepted && this.state === "loading" && !this.#pending.length) this.become("ready");
    } else {
      this.#take(frame)?.reject(error);
    }
    this.dispatchEvent(new CustomEvent("error", { detail: { code, message, frame } }));
  }

  #lost({ code, reason }: CloseEvent, opened: boolean) {
    this.#socket = null;
    if (code === IDLE) {
      // until there is something to send
      this.#forget(new ServerError("gone", reason));
      this.#opening = null;
      return this.become("idle", { reason });
    }
    if (opened) this.#expect();
    const why = reason || "The server is not available. Retrying.";
    this.#forget(
      code === TOO_LARGE
        ? new ServerError("too_large", reason || "The image is too large.")
        : new ServerError("gone", why),
    );
    if (code === REFUSED)
      return this.#end(new ServerError("closed", reason || "The server refused the connection."));
    const seconds = Math.min(FIRST_RETRY_S * 2 ** this.#failures++, LONGEST_RETRY_S);
    this.#timer = setTimeout(() => this.#connect(), seconds * 1000);
    this.become("waiting", {
      retryIn: seconds,
      reason: code === FULL && !reason ? "The server is full." : why,
    });
    if (opened) return;
    call(below(this.#url, "healthz"), this.#token).catch((error: ServerError) => {
      // browsers hide the reason of a failed handshake
      if (error.code === "gone" || this.state !== "waiting") return;
      clearTimeout(this.#timer);
      this.#end(error);
    });
  }

  /** Close the connection for good. */
  #end(error: ServerError) {
    this.#forget(error);
    this.#opening?.reject(error);
    this.#opening = null;
    if (this.state !== "closed") this.become("closed", { code: error.code, reason: error.message });
  }

  /** Reject all pending promises. */
  #forget(error: ServerError) {
    const waiting = [
      ...this.#pending.splice(0),
      ...this.#frames.values(),
      ...this.#finishing.splice(0),
    ];
    this.#frames.clear();
    for (const { reject } of waiting) reject(error);
  }
}
