/**
 * Write WebAssembly: functions without parameters that compute in one memory.
 *
 * Sources: the binary format of the WebAssembly specification, and the proposal of relaxed SIMD.
 */

/** A local variable of a function. */
export type Local = { readonly isVector: boolean; readonly index: number };

const [INTEGER, VECTOR, FUNCTION, NOTHING] = [0x7f, 0x7b, 0x60, 0x40];
const SIMD = 0xfd;
const ALIGNMENT = 2; // of four bytes, as a power of two

/** Return an unsigned number in LEB128. */
function unsigned(value: number): number[] {
  const [low, rest] = [value & 0x7f, value >>> 7];
  return rest ? [low | 0x80, ...unsigned(rest)] : [low];
}

/** Return a signed number in LEB128. */
function signed(value: number): number[] {
  const [low, rest] = [value & 0x7f, value >> 7];
  const isLast = rest === (low & 0x40 ? -1 : 0);
  return isLast ? [low] : [low | 0x80, ...signed(rest)];
}

const listOf = (items: readonly (readonly number[])[]): number[] => [
  ...unsigned(items.length),
  ...items.flat(),
];

/**
 * A function in the making. Its methods append instructions, which take their operands from a
 * stack. Addresses are sums of an operand and a constant offset.
 */
export class Assembler {
  #code: (number | Local)[] = [];
  #integers = 0;
  #vectors = 0;

  integer(): Local {
    return { isVector: false, index: this.#integers++ };
  }

  /** Return a variable of four floats. */
  vector(): Local {
    return { isVector: true, index: this.#vectors++ };
  }

  get = (local: Local) => this.#put(0x20, local);
  set = (local: Local) => this.#put(0x21, local);
  /** Set a variable and leave its value on the stack. */
  tee = (local: Local) => this.#put(0x22, local);
  number = (value: number) => this.#put(0x41, ...signed(value));
  add = () => this.#put(0x6a);
  multiply = () => this.#put(0x6c);
  /** Push a variable, or a limit if that is smaller. */
  least(variable: Local, limit: number): this {
    return this.get(variable).number(limit).get(variable).number(limit).#put(0x49, 0x1b);
  }

  load = (offset: number) => this.#simd(0x00, ALIGNMENT, ...unsigned(offset));
  /** Load one float four times. */
  loadOne = (offset: number) => this.#simd(0x09, ALIGNMENT, ...unsigned(offset));
  loadInteger = (offset: number) => this.#put(0x28, ALIGNMENT, ...unsigned(offset));
  store = (offset: number) => this.#simd(0x0b, ALIGNMENT, ...unsigned(offset));
  /** Push a vector of four equal floats. */
  floats = (value: number) =>
    this.#simd(0x0c, ...new Uint8Array(Float32Array.of(value, value, value, value).buffer));
  addVectors = () => this.#simd(0xe4);
  multiplyVectors = () => this.#simd(0xe6);
  lower = () => this.#simd(0xea);
  higher = () => this.#simd(0xeb);
  /** Replace vectors a, b and c by a * b + c, rounded once or twice. */
  multiplyAdd = () => this.#simd(0x105);

  /** Repeat what `body` appends, while a variable that it increases by a step is below a limit. */
  repeat(variable: Local, step: number, limit: number | Local, body: () => void): this {
    this.#put(0x03, NOTHING);
    body();
    this.get(variable).number(step).add().tee(variable);
    if (typeof limit === "number") this.number(limit);
    else this.get(limit);
    return this.#put(0x49, 0x0d, 0, 0x0b); // less than, branch, end
  }

  /** Return the function as it is in a module. */
  bytes(): number[] {
    const code: number[] = [];
    for (const item of this.#code)
      if (typeof item === "number") code.push(item);
      else code.push(...unsigned(item.index + (item.isVector ? this.#integers : 0)));
    const locals = listOf([
      [...unsigned(this.#integers), INTEGER],
      [...unsigned(this.#vectors), VECTOR],
    ]);
    return [...unsigned(locals.length + code.length + 1), ...locals, ...code, 0x0b];
  }

  #put(...code: readonly (number | Local)[]): this {
    for (const item of code) this.#code.push(item);
    return this;
  }

  #simd(instruction: number, ...operands: readonly number[]): this {
    return this.#put(SIMD, ...unsigned(instruction), ...operands);
  }
}

/** Return a module whose function `run` calls functions in turn; its memory is `own.memory`. */
export function moduleOf(functions: readonly Assembler[]): Uint8Array<ArrayBuffer> {
  const text = (name: string) => listOf([...new TextEncoder().encode(name)].map((code) => [code]));
  const section = (number: number, items: readonly (readonly number[])[]) => {
    const content = listOf(items);
    return [number, ...unsigned(content.length), ...content];
  };
  const calls = functions.flatMap((_, k) => [0x10, ...unsigned(k)]);
  const run = [...unsigned(calls.length + 2), 0, ...calls, 0x0b];
  return Uint8Array.from([
    ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, [[FUNCTION, 0, 0]]),
    ...section(2, [[...text("own"), ...text("memory"), 2, 0, 1]]),
    ...section(3, [...functions.map(() => [0]), [0]]),
    ...section(7, [[...text("run"), 0, ...unsigned(functions.length)]]),
    ...section(10, [...functions.map((one) => one.bytes()), run]),
  ]);
}
