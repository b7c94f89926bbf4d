/** 4 x 4 matrices in the layout of WebGL and glTF: sixteen numbers, column by column. */

/** @typedef {Float32Array | readonly number[]} Matrix */

export const IDENTITY = Object.freeze([1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]);

/** Return the product of matrices; the last is applied first. @param {...Matrix} factors @returns {number[]} */
export function product(...factors) {
  return /** @type {number[]} */ (factors.reduce((a, b) => {
    const out = new Array(16);
    for (let column = 0; column < 16; column += 4) {
      for (let row = 0; row < 4; row += 1) {
        out[column + row] = a[row] * b[column] + a[row + 4] * b[column + 1] + a[row + 8] * b[column + 2] + a[row + 12] * b[column + 3];
      }
    }
    return out;
  }));
}

/** @param {number[]} at @returns {number[]} */
export const translation = ([x, y, z]) => [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, x, y, z, 1];

/** @param {number[]} by along each axis @returns {number[]} */
export const scaling = ([x, y, z]) => [x, 0, 0, 0, 0, y, 0, 0, 0, 0, z, 0, 0, 0, 0, 1];

/** @param {number[]} quaternion of length 1, the real part last @returns {number[]} */
export function rotation([x, y, z, w]) {
  return [
    1 - 2 * (y * y + z * z), 2 * (x * y + z * w), 2 * (x * z - y * w), 0,
    2 * (x * y - z * w), 1 - 2 * (x * x + z * z), 2 * (y * z + x * w), 0,
    2 * (x * z + y * w), 2 * (y * z - x * w), 1 - 2 * (x * x + y * y), 0,
    0, 0, 0, 1,
  ];
}

/** Return the rotation of a matrix without scale and translation. @param {Matrix} matrix @returns {number[]} */
export function turnOf(matrix) {
  const out = [...IDENTITY];
  for (const column of [0, 4, 8]) {
    const length = Math.hypot(matrix[column], matrix[column + 1], matrix[column + 2]) || 1;
    for (let row = 0; row < 3; row += 1) out[column + row] = matrix[column + row] / length;
  }
  return out;
}

/** Return the inverse of a rotation. @param {Matrix} matrix @returns {number[]} */
export function transposed(matrix) {
  return IDENTITY.map((_, k) => matrix[(k % 4) * 4 + Math.floor(k / 4)]);
}

/** @param {Matrix} matrix @param {number[]} point @returns {number[]} */
export function moved(matrix, [x, y, z]) {
  return [0, 1, 2].map((row) => matrix[row] * x + matrix[row + 4] * y + matrix[row + 8] * z + matrix[row + 12]);
}

/** Return the projection of a camera at the origin that looks along -z. @param {number} fovY vertical field of view in radians @param {number} aspect width over height @param {number} near @param {number} far @returns {number[]} */
export function perspective(fovY, aspect, near, far) {
  const scale = 1 / Math.tan(fovY / 2);
  return [scale / aspect, 0, 0, 0, 0, scale, 0, 0, 0, 0, (far + near) / (near - far), -1, 0, 0, (2 * far * near) / (near - far), 0];
}
